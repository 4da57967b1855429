/* Standard input and output (any two descriptors) as one byte stream.
 *
 * They may be pipes, terminals, sockets, files or devices, and they are usually shared with other
 * processes: the shell's terminal must not become non-blocking because we use it. Pipes and terminals are
 * therefore opened anew through /proc; where that cannot be, and for sockets, O_NONBLOCK is set and put
 * back by byte_stream_close(). Files cannot be polled: they are read and written on the loop's thread pool.
 *
 * byte_stream_shutdown() ends the output for whoever reads it: `out_fd` is replaced by /dev/null. A reader
 * who goes away is told by on_error() at once (sys_errno EPIPE). Nothing else about the descriptors
 * changes, and they stay the caller's. SIGPIPE has to be ignored. One loop; peer is unspecified.
 */
#pragma once

#include "io/byte_stream.h"

/* E_IO when one of them is not open for its direction, or there are too many descriptors. */
struct byte_stream *stdio_open(struct loop *l, int in_fd, int out_fd, struct err *err);
