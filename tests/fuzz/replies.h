/* Replies of a web server that a fuzz target chooses, in the place of http/fetch.c's (the linker's --wrap=fetch, in
 * cmake/tests.cmake): texts with a NUL between, given one after the other, whatever is asked. A text may begin with a
 * status of three digits and a blank, then with lines of fields, then with an empty line.
 */
#pragma once

#include "base/mem.h"
#include "http/fetch.h"

static struct bytes replies;
static bool replies_are_over;

static void replies_begin(struct bytes texts)
{
	replies = texts;
	replies_are_over = false;
}

static struct bytes replies_take(void)
{
	struct bytes one = bytes_first(replies, bytes_index(replies, 0));

	replies_are_over = replies_are_over || replies.len == 0;
	replies = bytes_from(replies, one.len + 1);
	return one;
}

static bool replies_is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

/* The body of a reply may be made anew: owned; NULL: as it is. */
static char *reply_made(struct bytes body);

int __wrap_fetch(const struct fetch_request *req, struct fetch_response *ret, struct err *err);
int __wrap_fetch(const struct fetch_request *req, struct fetch_response *ret, struct err *err)
{
	size_t max = req->body_max ? req->body_max : 1024 * 1024;
	struct bytes one = replies_take(), head = BYTES_NONE;
	char *made;

	if (replies_are_over)
		return err_set(err, E_CLOSED, "nobody is there");
	*ret = (struct fetch_response){ .status = 200, .content_type = mem_strdup("") };
	if (one.len >= 4 && replies_is_digit(one.ptr[0]) && replies_is_digit(one.ptr[1]) &&
	    replies_is_digit(one.ptr[2]) && one.ptr[3] == ' ') {
		size_t end = 4;

		ret->status = (one.ptr[0] - '0') * 100 + (one.ptr[1] - '0') * 10 + one.ptr[2] - '0';
		while (end + 4 <= one.len && memcmp(one.ptr + end, "\r\n\r\n", 4) != 0)
			end++;
		if (end + 4 <= one.len) {
			head = bytes_of(one.ptr, end + 4);
			one = bytes_from(one, end + 4);
		} else {
			one = bytes_from(one, 4);
		}
	}
	made = reply_made(one);
	if (made)
		one = bytes_str(made);
	buf_init(&ret->head, 1024 * 1024);
	buf_init(&ret->body, max);
	int r = buf_append(&ret->head, head);
	if (r == 0)
		r = buf_append(&ret->body, one);
	mem_free(made);
	if (r == 0)
		return 0;
	fetch_response_done(ret);
	return err_set(err, E_LIMIT, "more than was asked for");
}
