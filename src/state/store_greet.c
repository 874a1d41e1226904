/* SPDX-License-Identifier: Apache-2.0 */
/* What is said before a store is READY: to a Sentinel, to find the primary; to a server, to see
 * that it is one. Everything is said at once, and the answers are judged as they come.
 *
 * A server's error text may repeat what it was sent (a server that has no AUTH does), so of the
 * answer to AUTH only the first word is ever shown. */
#include "store_private.h"

#include <stdio.h>

static bool store_says(const redisReply *reply, struct str secret)
{
	return secret.len > 0 && memmem(reply->str, reply->len, secret.at, secret.len);
}

const char *store_shown(const struct store *s, const redisReply *reply, char text[STORE_SHOWN_MAX])
{
	if (!reply->str)
		return "not a text";
	if (store_says(reply, s->settings.password) ||
		store_says(reply, s->settings.sentinel_password))
		return "a text that has the password in it";
	size_t len = reply->len < STORE_SHOWN_MAX - 1 ? (size_t)reply->len : STORE_SHOWN_MAX - 1;
	for (size_t i = 0; i < len; i++)
		text[i] = reply->str[i] >= ' ' && reply->str[i] <= '~' ? reply->str[i] : '?';
	text[len] = '\0';
	return text;
}

static bool store_begins(const redisReply *reply, const char *word)
{
	size_t len = strlen(word);
	return reply->type == REDIS_REPLY_ERROR && (size_t)reply->len >= len &&
	       memcmp(reply->str, word, len) == 0 &&
	       ((size_t)reply->len == len || reply->str[len] == ' ');
}

bool store_reply_leads_away(const redisReply *reply)
{
	return store_begins(reply, "READONLY") || store_begins(reply, "LOADING") ||
	       store_begins(reply, "MASTERDOWN") || store_begins(reply, "UNBLOCKED");
}

/* --- questions --- */

#define STORE_WORDS(...)                   \
	(const struct str[]){__VA_ARGS__}, \
		sizeof((const struct str[]){__VA_ARGS__}) / sizeof(struct str)

static bool store_ask_auth(struct store *s, struct str username, struct str password)
{
	if (password.len == 0)
		return true;
	if (username.len == 0)
		return store_ask(s, STORE_QUESTION_AUTH, 0, STORE_WORDS(STR("AUTH"), password));
	return store_ask(s, STORE_QUESTION_AUTH, 0, STORE_WORDS(STR("AUTH"), username, password));
}

static bool store_greet_sentinel(struct store *s)
{
	const struct store_settings *set = &s->settings;
	return store_ask_auth(s, set->sentinel_username, set->sentinel_password) &&
	       store_ask(s, STORE_QUESTION_PRIMARY, 0,
		       STORE_WORDS(STR("SENTINEL"), STR("get-master-addr-by-name"), set->sentinel));
}

static bool store_greet_server(struct store *s)
{
	const struct store_settings *set = &s->settings;
	bool ok = store_ask_auth(s, set->username, set->password);
	if (set->client_name.len > 0)
		ok = ok && store_ask(s, STORE_QUESTION_NAME, 0,
				   STORE_WORDS(STR("CLIENT"), STR("SETNAME"), set->client_name));
	ok = ok && store_ask(s, STORE_QUESTION_ROLE, 0, STORE_WORDS(STR("ROLE"))) &&
	     store_ask(s, STORE_QUESTION_REPLICATION, 0,
		     STORE_WORDS(STR("INFO"), STR("replication")));
	if (set->channel.len > 0)
		ok = ok && store_ask(s, STORE_QUESTION_SUBSCRIBE, 0,
				   STORE_WORDS(STR("SUBSCRIBE"), set->channel));
	return ok;
}

void store_greet(struct store *s)
{
	bool ok;
	if (s->state == STORE_LOOKING) {
		ok = store_greet_sentinel(s);
	} else {
		store_move(s, STORE_GREETING);
		ok = store_greet_server(s);
	}
	if (!ok)
		store_fail(s, "out of memory");
}

/* --- answers --- */

/* Where the operator has to look. */
static const char *store_key(const struct store *s, const char *of_server, const char *of_sentinel)
{
	return s->state == STORE_LOOKING ? of_sentinel : of_server;
}

/* An error that has the same cause whatever was asked; true: the store has failed. */
static bool store_greet_refused(struct store *s, const redisReply *reply, const char *what)
{
	char text[STORE_SHOWN_MAX];
	if (reply->type != REDIS_REPLY_ERROR)
		return false;
	if (store_begins(reply, "NOAUTH"))
		store_fail(s, "the server asks for a password: set %s",
			store_key(s, "state.username and state.password_file",
				"state.sentinel_username and state.sentinel_password_file"));
	else if (store_begins(reply, "NOPERM"))
		store_fail(s, "its access rules do not allow %s to this user: %s", what,
			store_shown(s, reply, text));
	else
		store_fail(s, "refuses %s: %s", what, store_shown(s, reply, text));
	return true;
}

static void store_greet_auth(struct store *s, const redisReply *reply)
{
	if (reply->type == REDIS_REPLY_STATUS)
		return;
	const char *keys = store_key(s, "state.username and state.password_file",
		"state.sentinel_username and state.sentinel_password_file");
	if (store_begins(reply, "WRONGPASS") || store_begins(reply, "NOAUTH"))
		store_fail(s, "wrong password, or no such user: look at %s", keys);
	else if (store_begins(reply, "LOADING"))
		store_fail(s, "still loads its state from disk");
	else
		store_fail(s, "does not take AUTH; has it this user with a password? See %s", keys);
}

/* Two texts: an address and a port. */
static bool store_greet_address(const redisReply *reply, struct address *ret_address)
{
	uint64_t port;
	const redisReply *const *part = (const redisReply *const *)reply->element;
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
		part[0]->type != REDIS_REPLY_STRING || part[1]->type != REDIS_REPLY_STRING)
		return false;
	if (!address_parse((struct str){part[0]->str, (size_t)part[0]->len}, ret_address) ||
		!str_to_u64((struct str){part[1]->str, (size_t)part[1]->len}, &port) || port == 0 ||
		port > UINT16_MAX)
		return false;
	ret_address->port = (uint16_t)port;
	return true;
}

static void store_greet_primary(struct store *s, const redisReply *reply)
{
	struct address primary;
	if (store_greet_refused(s, reply, "SENTINEL"))
		return;
	if (reply->type == REDIS_REPLY_NIL)
		store_fail(s, "this Sentinel knows no primary \"" STR_FMT "\"",
			STR_ARG(s->settings.sentinel));
	else if (store_greet_address(reply, &primary))
		store_found(s, &primary);
	else
		store_fail(s, "this Sentinel does not tell an IP address and a port "
			      "(sentinel announce-hostnames no)");
}

static void store_greet_role(struct store *s, const redisReply *reply)
{
	if (store_greet_refused(s, reply, "ROLE"))
		return;
	const redisReply *first =
		reply->type == REDIS_REPLY_ARRAY && reply->elements > 0 ? reply->element[0] : reply;
	struct str role = {first->str, first->str ? (size_t)first->len : 0};
	if (str_eq(role, STR("master")))
		return;
	if (str_eq(role, STR("slave")))
		store_fail(s, "is a replica, not the primary");
	else if (str_eq(role, STR("sentinel")))
		store_fail(s, "is a Sentinel: set state.sentinel to the name of its primary");
	else
		store_fail(s, "says no role that is known");
}

static void store_greet_replication(struct store *s, const redisReply *reply)
{
	static const char field[] = "master_replid:";
	if (reply->type != REDIS_REPLY_STRING || !reply->str)
		return; /* not told: a user without +info */
	const char *at = memmem(reply->str, (size_t)reply->len, field, strlen(field));
	if (!at)
		return;
	at += strlen(field);
	size_t left = (size_t)(reply->str + reply->len - at);
	for (size_t i = 0; i < STORE_REPLICATION_ID; i++) {
		if (i >= left || str_hex(at[i]) < 0)
			return;
	}
	memcpy(s->replication_id, at, STORE_REPLICATION_ID);
	s->replication_id[STORE_REPLICATION_ID] = '\0';
}

void store_greeted(struct store *s, enum store_question question, redisReply *reply)
{
	switch (question) {
	case STORE_QUESTION_AUTH:
		store_greet_auth(s, reply);
		break;
	case STORE_QUESTION_PRIMARY:
		store_greet_primary(s, reply);
		break;
	case STORE_QUESTION_ROLE:
		store_greet_role(s, reply);
		break;
	case STORE_QUESTION_REPLICATION:
		store_greet_replication(s, reply);
		break;
	case STORE_QUESTION_SUBSCRIBE:
		store_greet_refused(s, reply, "SUBSCRIBE");
		break;
	case STORE_QUESTION_NAME: /* only for the server's operator to see */
	case STORE_QUESTION_OWNER:
		break;
	}
	freeReplyObject(reply);
	if (s->up && s->state == STORE_GREETING && list_empty(&s->pending))
		store_ready(s);
}
