/* A proxy's URL and a NO_PROXY list, divided by a line end: a sound proxy or a refusal. */
#include "base/mem.h"
#include "connector/dial/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = bytes_of(data, size);
	size_t cut = bytes_index(in, '\n');
	char *url = mem_strndup(bytes_first(in, cut)), *list = mem_strndup(bytes_from(in, cut + 1));
	struct arena arena;
	struct proxy p;

	arena_init(&arena);
	if (proxy_parse(&arena, url, "X", &p, NULL) == 0) {
		BUG_IF(p.host.len == 0 || p.port == 0 || !*proxy_scheme(&p) || p.text.len == 0);
		BUG_IF(p.kind == PROXY_SOCKS5 && (p.user.len > 255 || p.password.len > 255));
		(void)proxy_is_bypassed(list, p.host, p.port);
	}
	arena_done(&arena);
	mem_free(url);
	mem_free(list);
	return 0;
}
