/* Cap'n Proto messages (capnproto.org/encoding.html), unpacked stream framing: a bounded reader that
 * copies nothing and a single-segment writer.
 *
 * Reader. A message is opened over borrowed bytes; everything read from it borrows them too. Errors are
 * sticky in the message, as in base/reader.h: read all fields, then ask capnp_ok() once. After the first
 * error every read gives 0, empty or null. A null or missing field gives its default (zero) and is no
 * error, so shorter structs of older peers and longer ones of newer peers read well.
 * Hostile messages: pointers are followed inside their segment only, at most LIMIT_CAPNP_DEPTH deep, and
 * all that was followed together may be LIMIT_CAPNP_TRAVERSAL_FACTOR times the message.
 *
 * Writer. Objects are appended in the order they are made; references are word indexes, so the buffer
 * may move. Its error is sticky too.
 *
 * Any thread; no state outside the structs.
 */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"

/* --- Framing --------------------------------------------------------------------------------- */

/* How long is the message at the front of these bytes, header included? 0 and *ret_size (which may be
 * more than front.len: wait for the rest). E_AGAIN: the header itself is not complete. E_LIMIT: more
 * than `max_bytes` or LIMIT_CAPNP_SEGMENTS; known from the header, before anything is stored. */
int capnp_frame_size(struct bytes front, size_t max_bytes, size_t *ret_size,
		     struct err *err) MUST_USE;

/* --- Reader ---------------------------------------------------------------------------------- */

struct capnp_message {
	struct bytes segments[LIMIT_CAPNP_SEGMENTS]; /* whole words each */
	uint32_t segment_count;
	uint64_t words_left; /* that may still be followed */
	const char *why;     /* the first error; NULL while there is none */
};

/* Both are values; a null one (message NULL) reads as all defaults. The message must outlive them and
 * stay where it is. */
struct capnp_struct {
	struct capnp_message *message;
	uint32_t segment;
	uint32_t depth;
	size_t data; /* byte offset in the segment */
	uint32_t data_bytes;
	size_t pointers; /* byte offset in the segment */
	uint32_t pointer_count;
};

enum capnp_size { /* of a list's elements */
		  CAPNP_VOID,
		  CAPNP_BIT,
		  CAPNP_1BYTE,
		  CAPNP_2BYTES,
		  CAPNP_4BYTES,
		  CAPNP_8BYTES,
		  CAPNP_POINTER,
		  CAPNP_COMPOSITE,
};

struct capnp_list {
	struct capnp_message *message;
	uint32_t segment;
	uint32_t depth;
	enum capnp_size size;
	uint32_t count;
	size_t at;           /* byte offset of element 0 */
	uint32_t data_bytes; /* composite: of one element */
	uint32_t pointer_count;
};

enum capnp_kind { CAPNP_NULL, CAPNP_STRUCT, CAPNP_LIST, CAPNP_CAPABILITY };

/* `frame` is one whole message as capnp_frame_size() measured it. */
int capnp_open(struct bytes frame, struct capnp_message *ret, struct err *err) MUST_USE;
static inline bool capnp_ok(const struct capnp_message *m)
{
	return m->why == NULL;
}
/* 0, or E_PROTOCOL with the reason. */
int capnp_check(const struct capnp_message *m, struct err *err) MUST_USE;
/* Marks the message as broken, for a user's own checks. The first reason stays. */
void capnp_fail(struct capnp_message *m, const char *why);

struct capnp_struct capnp_root(struct capnp_message *m);

/* `at` is a byte offset into the data section, for bool a bit offset. */
uint64_t capnp_u64(struct capnp_struct s, uint32_t at);
uint32_t capnp_u32(struct capnp_struct s, uint32_t at);
uint16_t capnp_u16(struct capnp_struct s, uint32_t at);
uint8_t capnp_u8(struct capnp_struct s, uint32_t at);
bool capnp_bool(struct capnp_struct s, uint32_t bit);

/* `index` counts pointers. A pointer of another kind than asked for is an error, null is not. */
enum capnp_kind capnp_kind_of(struct capnp_struct s, uint32_t index);
struct capnp_struct capnp_struct_at(struct capnp_struct s, uint32_t index);
struct capnp_list capnp_list_at(struct capnp_struct s, uint32_t index);
struct bytes capnp_data(struct capnp_struct s, uint32_t index);
struct bytes capnp_text(struct capnp_struct s,
			uint32_t index); /* without its NUL; not checked for UTF-8 */
/* Index into the message's capability table. False for null. */
bool capnp_capability(struct capnp_struct s, uint32_t index, uint32_t *ret_index);

/* Elements; out of range reads as default. Any element size that evolution allows is accepted: a list of
 * structs may have been a list of numbers, texts or pointers, and the other way round. */
struct capnp_struct capnp_list_struct(struct capnp_list l, uint32_t i);
struct capnp_list capnp_list_list(struct capnp_list l, uint32_t i);
struct bytes capnp_list_data(struct capnp_list l, uint32_t i);
struct bytes capnp_list_text(struct capnp_list l, uint32_t i);
/* `bytes` is 1, 2, 4 or 8, the type the schema gives; elements that are narrower are an error. */
uint64_t capnp_list_uint(struct capnp_list l, uint32_t i, uint32_t bytes);
bool capnp_list_bool(struct capnp_list l, uint32_t i);

/* --- Writer ---------------------------------------------------------------------------------- */

struct capnp_writer {
	struct buf *out; /* borrowed */
	size_t start;    /* where the frame begins in out */
	int failed;      /* enum err_code of the first failure */
};

/* A struct, or a pointer list (then pointer i is element i). */
struct capnp_ref {
	uint32_t word; /* in the segment */
	uint32_t data_words;
	uint32_t pointer_count;
};

/* Appends a message with this root to `out`. */
struct capnp_ref capnp_begin(struct capnp_writer *w, struct buf *out, uint32_t data_words,
			     uint32_t pointer_count);
/* Completes the frame. On failure (E_LIMIT: `out` is full) everything since capnp_begin() is taken back
 * from `out`. */
int capnp_end(struct capnp_writer *w) MUST_USE;

/* Offsets as in the reader; outside of the object is a bug of ours. */
void capnp_put_u64(struct capnp_writer *w, struct capnp_ref s, uint32_t at, uint64_t v);
void capnp_put_u32(struct capnp_writer *w, struct capnp_ref s, uint32_t at, uint32_t v);
void capnp_put_u16(struct capnp_writer *w, struct capnp_ref s, uint32_t at, uint16_t v);
void capnp_put_u8(struct capnp_writer *w, struct capnp_ref s, uint32_t at, uint8_t v);
void capnp_put_bool(struct capnp_writer *w, struct capnp_ref s, uint32_t bit, bool v);

struct capnp_ref capnp_put_struct(struct capnp_writer *w, struct capnp_ref s, uint32_t index,
				  uint32_t data_words, uint32_t pointer_count);
struct capnp_ref capnp_put_pointer_list(struct capnp_writer *w, struct capnp_ref s, uint32_t index,
					uint32_t count);
/* Element 0; capnp_element() gives the others. A count of 0 is a list, not null. */
struct capnp_ref capnp_put_struct_list(struct capnp_writer *w, struct capnp_ref s, uint32_t index,
				       uint32_t count, uint32_t data_words, uint32_t pointer_count);
struct capnp_ref capnp_element(struct capnp_ref first, uint32_t i);
/* Empty data and text are written as null. */
void capnp_put_data(struct capnp_writer *w, struct capnp_ref s, uint32_t index, struct bytes data);
void capnp_put_text(struct capnp_writer *w, struct capnp_ref s, uint32_t index, struct bytes text);
/* One text out of two parts, so that nobody has to join them first. */
void capnp_put_text_parts(struct capnp_writer *w, struct capnp_ref s, uint32_t index,
			  struct bytes first, struct bytes second);
void capnp_put_capability(struct capnp_writer *w, struct capnp_ref s, uint32_t index, uint32_t cap);
