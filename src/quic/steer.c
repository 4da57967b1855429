/* The kernel as the one that sorts packets: a filter on the sockets of a port (SO_REUSEPORT). */
#include <linux/filter.h>

#include "io/udp.h"
#include "quic/quic_internal.h"

int quic_steer(int fd, unsigned mask, unsigned count, struct err *err)
{
	/* The first byte of the id a packet is addressed to, modulo the endpoints. Of our own ids it is the index
	 * (ids.c); those that a client has made up are random there, so that new connections spread. What is too
	 * short to have one goes to the first socket. */
	const struct sock_filter program[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x80, 0, 2),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 6), /* long: flags, version, length, id */
		BPF_JUMP(BPF_JMP | BPF_JA, 1, 0, 0),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 1), /* short: flags, id */
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, mask),
		BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, count),
		BPF_STMT(BPF_RET | BPF_A, 0),
	};

	BUG_IF(count == 0 || count > 256);
	return udp_steer(fd, program, ARRAY_LEN(program), err);
}
