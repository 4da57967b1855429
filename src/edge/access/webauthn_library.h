/* Loads libfido2 at first use; see webauthn_library.c for why. Used by webauthn.c only. */
#pragma once

#include <stdbool.h>

/* False when it is not installed. Until it has returned true no function of it may be called. Any thread. */
bool webauthn_library_load(void);
