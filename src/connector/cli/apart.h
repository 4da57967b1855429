/* Runs something in a process of its own, so that what it leaves in memory goes with it.
 *
 * For `tunnel run NAME`: asking the API loads libcurl and every trusted root of the system, 15 MB that a
 * connector would carry for the rest of its life. Only while there is one thread.
 */
#pragma once

#include <stddef.h>

#include "base/err.h"

/* work(arg, result, err) runs in the child; `size` bytes of result (plain data, no pointers) and err come
 * back. Returns what work() returned, or E_IO when there is no child. What work() logs is seen. */
int apart_run(int (*work)(void *arg, void *result, struct err *err), void *arg, void *result,
	      size_t size, struct err *err);
