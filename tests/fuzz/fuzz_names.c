/* What is taken as a name keeps its promises: bounded, lower case, taken again as it is. */
#include "base/mem.h"
#include "store/names.h"

static void check_domain(int (*check)(const char *, char[NAME_DNS_BYTES + 1], struct err *),
			 const char *text)
{
	char once[NAME_DNS_BYTES + 1], twice[NAME_DNS_BYTES + 1];
	struct err err = { 0 };

	if (check(text, once, &err) < 0) {
		BUG_IF(err.code != E_INVALID || strchr(err.text, '\n'));
		return;
	}
	for (const char *c = once; *c; c++)
		BUG_IF(!strchr("abcdefghijklmnopqrstuvwxyz0123456789-_.*", *c));
	BUG_IF(!strchr(once, '.') || strstr(once, "..") || once[strlen(once) - 1] == '.');
	BUG_IF(check(once, twice, NULL) != 0 || strcmp(once, twice) != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = mem_strndup(bytes_of(data, size));
	char email[NAME_EMAIL_BYTES + 1];

	check_domain(name_zone, text);
	check_domain(name_hostname, text);
	if (name_tunnel(text, NULL) == 0)
		BUG_IF(strlen(text) > NAME_TUNNEL_BYTES || strpbrk(text, "\n\r\t\x1b\x7f"));
	if (name_email(text, email, NULL) == 0)
		BUG_IF(!strchr(email, '@') || strpbrk(email, " \n"));
	(void)name_note(text, NULL);
	mem_free(text);
	return 0;
}
