#include "edge/access/authority_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/limits.h"
#include "tls/pem.h"

static int unreadable(const char *path, int why, struct err *err)
{
	if (why != EACCES && why != EPERM)
		return err_set(err, E_INVALID, "cannot read %.150s: %s", path, strerror(why));
	return err_set(
		err, E_INVALID,
		"%.150s is out of the edge's reach: make it readable for the edge's user, name its "
		"folder as sandbox-read in edge.yml, and start the edge anew",
		path);
}

/* A name may lead to what would have us wait: a pipe, a terminal. */
static FILE *open_plain(const char *path, struct err *err)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	FILE *file = NULL;

	if (fd < 0) {
		unreadable(path, errno, err);
		return NULL;
	}
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		err_set(err, E_INVALID, "%.150s is no file", path);
	else
		file = fdopen(fd, "rb");
	if (!file)
		close(fd); /* allowed: a plain file */
	return file;
}

static int check(const char *path, struct err *err)
{
	struct pem_parts parts;
	struct buf text;
	int r = 0;

	FILE *file = open_plain(path, err);
	if (!file)
		return E_INVALID;
	buf_init(&text, LIMIT_ROOTS_BYTES + 4096);
	while (r == 0 && !feof(file) && !ferror(file)) {
		r = buf_reserve(&text, 4096);
		if (r == 0)
			buf_added(&text, fread(text.ptr + text.len, 1, 4096, file));
	}
	if (r < 0)
		err_set(err, E_INVALID, "%.150s is larger than %d bytes", path, LIMIT_ROOTS_BYTES);
	else if (ferror(file))
		r = unreadable(path, EIO, err);
	(void)fclose(file);
	if (r == 0)
		r = pem_split(buf_bytes(&text), &parts, err);
	if (r == 0) {
		if (parts.certificate_count == 0)
			r = err_set(err, E_INVALID, "%.150s has no certificate (PEM) in it", path);
		pem_parts_done(&parts);
	}
	buf_done(&text);
	return r < 0 ? E_INVALID : 0;
}

static int check_member(const json_t *object, const char *member, struct err *err)
{
	const char *path = json_string_value(json_object_get(object, member));

	return path && *path ? check(path, err) : 0;
}

int authority_files_check(const json_t *sent, struct err *err)
{
	static const char *const lists[] = { "include", "require", "exclude" };
	static const char *const members[] = { "ca_file", "smtp_ca_file" };
	const json_t *config = json_object_get(sent, "config"), *rule;
	size_t k;

	for (size_t i = 0; i < ARRAY_LEN(members); i++) {
		if (check_member(config, members[i], err) < 0)
			return err_wrap(err, "config.%s", members[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		json_array_foreach(json_object_get(sent, lists[i]), k, rule)
		{
			const json_t *body = json_object_get(rule, "external_evaluation");
			if (check_member(body, "ca_file", err) < 0)
				return err_wrap(err, "%s[%zu]: external_evaluation.ca_file",
						lists[i], k);
		}
	}
	return 0;
}
