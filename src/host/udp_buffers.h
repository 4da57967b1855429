/* How much the kernel lets a UDP socket hold (net.core.rmem_max, wmem_max): its preset is too little for QUIC at a few
 * hundred megabits. Blocks; for commands, as root.
 */
#pragma once

#include "base/err.h"

/* From the next boot on (/etc/sysctl.d/50-NAME.conf, unless a package has brought one), and now where the kernel
 * has less. Where it may not be changed (a container) it stays: programs work, with losses. */
int udp_buffers_raise(const char *name, struct err *err);
/* Forgets the file; what the kernel has stays until the next boot. */
void udp_buffers_forget(const char *name);
