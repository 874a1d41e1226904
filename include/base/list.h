/* SPDX-License-Identifier: Apache-2.0 */
/* Intrusive doubly linked list: the node lives in its owner, and a node on no list points at
 * itself. A head is a node too. */
#pragma once

#include <stdbool.h>

struct list {
	struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_add_last(struct list *head, struct list *node)
{
	node->prev = head->prev;
	node->next = head;
	head->prev->next = node;
	head->prev = node;
}

static inline void list_add_first(struct list *head, struct list *node)
{
	list_add_last(head->next, node);
}

/* Safe on a node that is on no list. */
static inline void list_remove(struct list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}

/* All nodes of one list to the end of another. */
static inline void list_move_all(struct list *from, struct list *to)
{
	if (list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	list_init(from);
}

/* First node taken off, or NULL. */
static inline struct list *list_pop(struct list *head)
{
	struct list *node = head->next;
	if (node == head)
		return (struct list *)0;
	list_remove(node);
	return node;
}

#define LIST_EACH(head, it) for (struct list *it = (head)->next; it != (head); it = it->next)
