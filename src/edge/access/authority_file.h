/* Files of certificates that objects of Access name ("ca_file"). They are read each time they are used; whether that will
 * work is tried when the object is saved, in the process that will use them, for that is shut in. Control thread; blocks on
 * the disk for one small file.
 */
#pragma once

#include <jansson.h>

#include "base/err.h"

/* Every file that an object as it was sent names. E_INVALID with the key and what to do: it is not there, out of reach, no
 * plain file, or has no certificate (PEM). */
int authority_files_check(const json_t *sent, struct err *err);
