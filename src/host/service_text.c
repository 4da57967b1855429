/* The files of a service: templates with @WORDS@ (host/service/). cmake/units.cmake fills the same ones for packages. */
#include <string.h>

#include "base/mem.h"
#include "host/service.h"
#include "host/service_files.h"

/* How long a stop may take: the connector drains for three minutes at most, the edge for ten. */
#define STOP_CONNECTOR "180"
#define STOP_EDGE "660"

struct filling {
	const struct service *service;
	enum service_init init;
	struct buf *out;
};

static int fill(const struct filling *f, const char *text);

static const char *template_of(const char *file)
{
	for (size_t i = 0; i < service_file_count; i++) {
		if (!strcmp(service_files[i].name, file))
			return service_files[i].text;
	}
	BUG_IF(true);
	return NULL;
}

/* Shell and Make names have no hyphens. */
static int put_variable(const struct filling *f)
{
	char *text = mem_strdup(f->service->name);

	for (char *c = text; *c; c++)
		*c = *c == '-' || *c == '.' ? '_' : *c;
	int r = buf_append_str(f->out, text);
	mem_free(text);
	return r;
}

static int put_secret(const struct filling *f)
{
	if (f->service->credential_count == 0)
		return 0;
	const struct service_credential *c = &f->service->credentials[0];
	/* systemd.unit(5): %d is the credentials' directory. */
	return f->init == SERVICE_SYSTEMD ? buf_printf(f->out, "%%d/%s", c->name)
					  : buf_append_str(f->out, c->path);
}

static int put_credentials(const struct filling *f)
{
	int r = 0;

	for (size_t i = 0; i < f->service->credential_count && r == 0; i++)
		r = buf_printf(f->out, "%sLoadCredential=%s:%s", i ? "\n" : "",
			       f->service->credentials[i].name, f->service->credentials[i].path);
	return r;
}

/* Below /var/lib, where systemd wants it. */
static int put_state(const struct filling *f)
{
	const char *state = f->service->state;
	const char *slash = state ? strrchr(state, '/') : NULL;

	return buf_append_str(f->out, slash ? slash + 1 : "");
}

/* False: no word of ours, and it stays as it is. */
static bool put_word(const struct filling *f, struct bytes word, int *ret)
{
	const struct service *s = f->service;

	if (bytes_eq(word, BYTES_LIT("NAME")))
		*ret = buf_append_str(f->out, s->name);
	else if (bytes_eq(word, BYTES_LIT("PROGRAM")))
		*ret = buf_append_str(f->out, s->program);
	else if (bytes_eq(word, BYTES_LIT("DESCRIPTION")))
		*ret = buf_append_str(f->out, s->description);
	else if (bytes_eq(word, BYTES_LIT("ARGS")))
		*ret = fill(f, s->args);
	else if (bytes_eq(word, BYTES_LIT("SECRET")))
		*ret = put_secret(f);
	else if (bytes_eq(word, BYTES_LIT("CREDENTIALS")))
		*ret = put_credentials(f);
	else if (bytes_eq(word, BYTES_LIT("VARIABLE")))
		*ret = put_variable(f);
	else if (bytes_eq(word, BYTES_LIT("STATE")))
		*ret = put_state(f);
	else if (bytes_eq(word, BYTES_LIT("STOP")))
		*ret = buf_append_str(f->out, s->role == SERVICE_EDGE ? STOP_EDGE : STOP_CONNECTOR);
	else if (bytes_eq(word, BYTES_LIT("HARDENING")))
		*ret = fill(f, template_of("hardening.conf"));
	else if (bytes_eq(word, BYTES_LIT("CONDITION")))
		*ret = 0; /* of packages: there may be nothing to serve yet */
	else
		return false;
	return true;
}

/* Replaces @WORD@ where WORD is one of ours; "@system-service" stays. */
static int fill(const struct filling *f, const char *text)
{
	int r = 0;

	while (r == 0 && *text) {
		size_t plain = strcspn(text, "@");
		r = buf_append(f->out, (struct bytes){ (const uint8_t *)text, plain });
		text += plain;
		if (r < 0 || !*text)
			break;
		size_t word = strspn(text + 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
		struct bytes name = { (const uint8_t *)text + 1, word };
		if (word && text[1 + word] == '@' && put_word(f, name, &r)) {
			text += word + 2;
		} else {
			r = buf_append(f->out, BYTES_LIT("@"));
			text++;
		}
	}
	return r;
}

int service_fill(const char *file, const struct service *s, enum service_init init, struct buf *out)
{
	return fill(&(struct filling){ s, init, out }, template_of(file));
}
