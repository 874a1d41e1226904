/* SPDX-License-Identifier: Apache-2.0 */
#include "tokens.h"

#include "base/clock.h"
#include "ledger/ledger.h"

#define TOKENS_AHEAD_NS	    (60 * CLOCK_MS) /* a few turns, and the store's answers */
#define TOKENS_AHEAD_MAX_NS (2 * CLOCK_S)
#define TOKENS_EARLY_MAX_NS (500 * CLOCK_MS) /* a window's first are taken so long before it */
#define TOKENS_MANY	    4
#define TOKENS_IDLE_NS	    (100 * CLOCK_MS)

static uint64_t tokens_between(uint64_t low, uint64_t value, uint64_t high)
{
	return value < low ? low : value > high ? high : value;
}

static uint64_t tokens_window_ns(const struct tokens *t)
{
	return t->window_ms * CLOCK_MS;
}

/* For how long tokens are held. */
static uint64_t tokens_ahead_ns(const struct tokens *t)
{
	return tokens_between(TOKENS_AHEAD_NS, tokens_window_ns(t) / 4, TOKENS_AHEAD_MAX_NS);
}

/* After so long without a wish nobody is expected. */
static uint64_t tokens_rest_ns(const struct tokens *t)
{
	return tokens_between(TOKENS_IDLE_NS, tokens_window_ns(t) / 16, 5 * CLOCK_S);
}

static uint32_t tokens_least(uint64_t a, uint64_t b)
{
	return (uint32_t)(a < b ? a : b);
}

/* Wishes to be expected, rounded up, and never more than the amount. */
static uint32_t tokens_need(const struct tokens *t, uint64_t ns)
{
	double need = t->rate * (double)ns;
	if (need >= (double)t->amount)
		return t->amount;
	uint32_t whole = (uint32_t)need;
	return need - whole > 0.05 ? whole + 1 : whole;
}

static struct tokens_window *tokens_of(struct tokens *t, uint64_t window)
{
	struct tokens_window *w = &t->windows[window % 2];
	if (w->number != window)
		*w = (struct tokens_window){.number = window};
	return w;
}

static uint32_t tokens_unleased(const struct tokens *t, const struct tokens_window *w)
{
	return w->total < t->amount ? t->amount - (uint32_t)w->total : 0;
}

void tokens_init(struct tokens *t, uint32_t amount, uint32_t window_ms)
{
	*t = (struct tokens){.amount = amount, .window_ms = window_ms};
	t->windows[0].number = t->windows[1].number = UINT64_MAX;
}

/* --- what is wanted here --- */

/* Many at once show a rate within two turns; of few it is learned, and forgotten, as slowly as
 * tokens are held. */
static void tokens_count(struct tokens *t, const struct tokens_seen *seen, uint64_t wishes)
{
	double passed_ns =
		(double)tokens_between(CLOCK_MS, seen->now_ns - t->seen_ns, 60 * CLOCK_S);
	double rate = (double)wishes / passed_ns;
	double weight = passed_ns / ((double)tokens_ahead_ns(t) + passed_ns);
	if (rate > t->rate && wishes >= TOKENS_MANY && weight < 0.5)
		weight = 0.5;
	t->rate += weight * (rate - t->rate);
}

static void tokens_see(struct tokens *t, const struct tokens_seen *seen, uint64_t window)
{
	bool is_same = t->wished_window == window;
	uint32_t expected = is_same ? t->hand : t->next_hand;
	uint64_t wishes = expected > seen->hand ? expected - seen->hand : 0;
	wishes += seen->lent - tokens_least(seen->lent, is_same ? t->lent : 0);
	wishes += seen->refused > t->refused ? seen->refused - t->refused : 0;
	if (t->seen_ns != 0)
		tokens_count(t, seen, wishes);
	/* The first look at it: that it is wanted is known, how much is not. */
	if (wishes > 0 || t->seen_ns == 0)
		t->wished_ns = seen->now_ns;
	if (!is_same) {
		const struct tokens_window *before = &t->windows[(window + 1) % 2];
		bool is_told = before->number == window - 1 && before->is_known;
		t->share = is_told && before->total > 0
				   ? (double)before->mine / (double)before->total
				   : 0;
	}
	t->wished_window = window;
	t->hand = seen->hand;
	t->next_hand = seen->next_hand;
	t->lent = seen->lent;
	t->refused = seen->refused;
	t->seen_ns = seen->now_ns;
}

/* --- what is asked for --- */

static uint32_t tokens_debt(const struct tokens *t, const struct tokens_window *w, uint32_t lent)
{
	uint64_t debt = lent > w->booked ? lent - w->booked : 0;
	if (t->owed_window != w->number)
		debt += t->owed;
	return tokens_least(debt, t->amount);
}

static void tokens_take(
	struct tokens_window *w, uint32_t wanted, uint32_t debt, struct tokens_ask *ask)
{
	*ask = (struct tokens_ask){.kind = TOKENS_TAKE,
		.is_first = !w->is_born,
		.window = w->number,
		.count = wanted + debt};
	w->wanted = wanted;
	w->debt = debt;
	w->is_asked = w->is_born = true;
}

/* Not more than a part of what is left, so that others find something; but no crumbs. */
static uint32_t tokens_fair(const struct tokens *t, const struct tokens_window *w, uint32_t need)
{
	uint32_t unleased = w->is_known ? tokens_unleased(t, w) : t->amount;
	uint32_t part = unleased / (t->share > 0.9 ? 2 : 4);
	if (part < t->amount / 64 + 1)
		part = t->amount / 64 + 1;
	if (part > unleased)
		part = unleased;
	return need < part ? need : part;
}

static bool tokens_wished_lately(const struct tokens *t, uint64_t now_ns)
{
	return now_ns - t->wished_ns <= tokens_rest_ns(t);
}

/* How many more are wanted in the window that runs. One is held while it is in use and few are
 * left: nothing is lent any more then. */
static uint32_t tokens_wanted(const struct tokens *t, const struct tokens_window *w,
	const struct tokens_seen *seen, uint64_t rest_ns)
{
	uint64_t ahead_ns = tokens_ahead_ns(t);
	uint32_t need = tokens_need(t, ahead_ns < rest_ns ? ahead_ns : rest_ns);
	uint32_t soon = tokens_need(t, tokens_between(TOKENS_AHEAD_NS, ahead_ns / 4, rest_ns));
	if (need == 0 && (!w->is_known || tokens_unleased(t, w) <= t->amount / 2))
		need = soon = t->amount > 0;
	if (seen->hand >= soon || seen->hand >= need)
		return 0;
	return tokens_fair(t, w, need - seen->hand);
}

static bool tokens_ask_now(struct tokens *t, struct tokens_window *w,
	const struct tokens_seen *seen, uint64_t rest_ns, struct tokens_ask *ask)
{
	uint32_t debt = tokens_debt(t, w, seen->lent);
	uint32_t wanted = tokens_wanted(t, w, seen, rest_ns);
	if (w->is_asked)
		return false;
	if (debt > 0 || (wanted > 0 && tokens_wished_lately(t, seen->now_ns))) {
		tokens_take(w, wanted, debt, ask);
		return true;
	}
	/* All taken: others may give some back. */
	uint64_t pause_ns = tokens_between(TOKENS_IDLE_NS, tokens_window_ns(t) / 8, 2 * CLOCK_S);
	bool is_due = w->is_known && seen->now_ns - w->looked_ns >= pause_ns;
	if (!is_due || tokens_unleased(t, w) > 0 || t->rate * (double)pause_ns < 0.5)
		return false;
	*ask = (struct tokens_ask){.kind = TOKENS_LOOK, .window = w->number};
	w->is_asked = true;
	return true;
}

/* The first of the next window: half of what the last one's share was, so that shares converge. */
static bool tokens_ask_next(struct tokens *t, struct tokens_window *w, struct tokens_ask *ask)
{
	double share = t->share > 0 ? t->share : 0.25;
	uint32_t need = tokens_need(t, tokens_ahead_ns(t)), debt = tokens_debt(t, w, 0);
	uint32_t most = (uint32_t)((double)t->amount * share / 2);
	if (need > most)
		need = most > 0 ? most : 1;
	if (w->is_asked || w->is_known)
		return false;
	if (debt == 0 && (need == 0 || t->rate * (double)tokens_window_ns(t) < 1))
		return false;
	tokens_take(w, need, debt, ask);
	return true;
}

/* What will not be needed any more in this window. */
static bool tokens_give_back(const struct tokens *t, const struct tokens_window *w,
	const struct tokens_seen *seen, uint64_t rest_ns, struct tokens_ask *ask)
{
	uint32_t keep = tokens_need(t, rest_ns);
	bool is_low = tokens_unleased(t, w) <= t->amount / 2;
	if (!tokens_wished_lately(t, seen->now_ns))
		keep = is_low;
	else
		keep += keep / 4 + 1;
	/* A few are not worth a command. */
	if (!w->is_known || w->is_asked || seen->hand <= keep ||
		(seen->hand - keep < t->amount / 64 && tokens_wished_lately(t, seen->now_ns)))
		return false;
	*ask = (struct tokens_ask){
		.kind = TOKENS_BACK, .window = w->number, .count = seen->hand - keep};
	return true;
}

uint32_t tokens_step(
	struct tokens *t, const struct tokens_seen *seen, struct tokens_ask asks[TOKENS_ASKS])
{
	uint64_t window_ns = tokens_window_ns(t), window = seen->store_ns / window_ns;
	uint64_t rest_ns = window_ns - seen->store_ns % window_ns;
	uint64_t early_ns = tokens_between(TOKENS_AHEAD_NS, window_ns / 8, TOKENS_EARLY_MAX_NS);
	uint32_t count = 0;
	tokens_see(t, seen, window);
	struct tokens_window *w = tokens_of(t, window);
	if (tokens_ask_now(t, w, seen, rest_ns, &asks[count]))
		count++;
	if (tokens_give_back(t, w, seen, rest_ns, &asks[count]))
		count++;
	bool is_early = rest_ns < early_ns && tokens_wished_lately(t, seen->now_ns);
	bool is_owing = t->owed > 0 && rest_ns < early_ns;
	if ((is_early || is_owing) && tokens_ask_next(t, tokens_of(t, window + 1), &asks[count]))
		count++;
	return count;
}

/* --- what the answers mean --- */

/* Who asks for a token now and then holds none, and goes on being lent one while there is so much
 * left that others will not have taken it all meanwhile. */
static struct tokens_told tokens_tell(const struct tokens *t, const struct tokens_window *w)
{
	struct tokens_told told = {.unleased = tokens_unleased(t, w), .credit = w->booked};
	if (told.unleased > t->amount / 2 && tokens_need(t, TOKENS_AHEAD_NS) <= 1)
		told.credit += ledger_limit_credit(t->amount, t->window_ms);
	return told;
}

static uint64_t tokens_number(int64_t total)
{
	return total > 0 ? (uint64_t)total : 0;
}

struct tokens_told tokens_taken(struct tokens *t, uint64_t window, int64_t total, uint64_t now_ns)
{
	struct tokens_window *w = &t->windows[window % 2];
	if (w->number != window || !w->is_asked)
		return (struct tokens_told){.is_old = true};
	uint64_t asked = (uint64_t)w->wanted + w->debt, after = tokens_number(total);
	uint64_t before = after > asked ? after - asked : 0;
	uint64_t with_debt = before + w->debt;
	uint32_t granted =
		with_debt < t->amount ? tokens_least(w->wanted, t->amount - with_debt) : 0;
	uint32_t lent = w->debt;
	if (t->owed_window != window) {
		uint32_t paid = tokens_least(t->owed, w->debt);
		t->owed -= paid;
		lent -= paid;
	}
	w->booked += lent;
	if (with_debt > t->amount) {
		t->owed += tokens_least(w->debt, with_debt - t->amount);
		t->owed_window = window;
	}
	/* What this node has taken of the number is in it, unless it was lost on the way. */
	bool is_anew = before < w->mine || (w->is_known && before == 0);
	w->mine += granted + w->debt;
	w->total = with_debt + granted;
	w->is_known = true;
	w->is_asked = false;
	w->looked_ns = now_ns;
	struct tokens_told told = tokens_tell(t, w);
	told.granted = granted;
	told.back = w->wanted - granted;
	told.is_anew = is_anew;
	if (t->wished_window == window)
		t->hand += granted;
	return told;
}

struct tokens_told tokens_looked(struct tokens *t, uint64_t window, int64_t total, uint64_t now_ns)
{
	struct tokens_window *w = &t->windows[window % 2];
	if (w->number != window || !w->is_asked)
		return (struct tokens_told){.is_old = true};
	w->total = tokens_number(total);
	w->is_known = true;
	w->is_asked = false;
	w->looked_ns = now_ns;
	return tokens_tell(t, w);
}

void tokens_failed(struct tokens *t, uint64_t window)
{
	struct tokens_window *w = &t->windows[window % 2];
	if (w->number == window)
		w->is_asked = w->is_born = false;
}

void tokens_given_back(struct tokens *t, uint64_t window, uint32_t count)
{
	struct tokens_window *w = &t->windows[window % 2];
	if (w->number != window)
		return;
	w->mine -= tokens_least(w->mine, count);
	w->total -= tokens_least(w->total, count);
	if (t->wished_window == window)
		t->hand -= tokens_least(t->hand, count);
}

bool tokens_idle(const struct tokens *t, uint64_t now_ns)
{
	bool is_asked = t->windows[0].is_asked || t->windows[1].is_asked;
	return !is_asked && t->owed == 0 && t->hand <= 1 && t->next_hand == 0 &&
	       !tokens_wished_lately(t, now_ns);
}
