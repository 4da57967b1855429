/* Another user, and capabilities. */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cap-ng.h>

#include "base/log.h"
#include "base/mem.h"
#include "sandbox/internal.h"

#define KINDS ((unsigned)CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_INHERITABLE)

/* "name", "name:group"; numbers are not names. */
static int look_up(const char *user, uid_t *ret_uid, gid_t *ret_gid, struct err *err)
{
	char *name = mem_strdup(user);
	char *group = strchr(name, ':');
	int code = 0;

	if (group)
		*group++ = 0;
	errno = 0;
	const struct passwd *found = getpwnam(name);
	const struct group *in = group ? getgrnam(group) : NULL;
	if (!found)
		code = err_set(err, E_INVALID, "user: there is no user '%.60s'", name);
	else if (group && !in)
		code = err_set(err, E_INVALID, "user: there is no group '%.60s'", group);
	else if (found->pw_uid == 0)
		code = err_set(err, E_INVALID, "user: '%.60s' is root again", name);
	if (code == 0) {
		*ret_uid = found->pw_uid;
		*ret_gid = in ? in->gr_gid : found->pw_gid;
	}
	mem_free(name);
	return code;
}

/* What was kept over the change is permitted, but has to be made effective, and ambient for programs started later. */
static int keep(unsigned long long capabilities, struct err *err)
{
	capng_get_caps_process();
	capng_clear(CAPNG_SELECT_CAPS);
	for (unsigned bit = 0; bit <= CAP_LAST_CAP; bit++) {
		if (capabilities >> bit & 1)
			(void)capng_update(CAPNG_ADD, (capng_type_t)(KINDS | CAPNG_AMBIENT), bit);
	}
	if (capng_apply(CAPNG_SELECT_CAPS) != 0 || capng_apply(CAPNG_SELECT_AMBIENT) != 0)
		return err_set(err, E_IO, "user: the kernel did not let us keep what we need");
	return 0;
}

int sandbox_become(const char *user, unsigned long long capabilities, struct err *err)
{
	uid_t uid;
	gid_t gid;

	if (look_up(user, &uid, &gid, err) < 0)
		return err->code;
	if (getuid() == uid && geteuid() == uid) {
		log_info("sandbox", "user", LOG_STR("is", user));
		return 0;
	}
	if (geteuid() != 0)
		return err_set(
			err, E_INVALID,
			"user: only root can become '%.60s'; start it as root, or as that user",
			user);
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || setgroups(1, &gid) < 0 ||
	    setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return err_set_errno(err, E_IO, errno, "user: becoming '%.60s'", user);
	if (keep(capabilities, err) < 0)
		return err->code;
	(void)prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0);
	/* Whoever says that it worked has tried to undo it. */
	if (setuid(0) == 0 || setgid(0) == 0 || getuid() != uid || geteuid() != uid ||
	    getgid() != gid)
		return err_set(err, E_IO, "user: root's rights are not gone");
	log_info("sandbox", "user", LOG_STR("is", user), LOG_INT("uid", uid), LOG_INT("gid", gid));
	return 0;
}

int sandbox_drop_capabilities(unsigned long long keep, char *ret_what, struct err *err)
{
	char names[SANDBOX_WORDS - 20] = "";
	bool is_more = false;

	capng_get_caps_process();
	for (unsigned bit = 0; bit <= CAP_LAST_CAP; bit++) {
		bool has = capng_have_capability(CAPNG_EFFECTIVE, bit) ||
			   capng_have_capability(CAPNG_PERMITTED, bit);
		if (!has)
			continue;
		if (!(keep >> bit & 1)) {
			is_more = true;
			continue;
		}
		const char *name = capng_capability_to_name(bit);
		size_t len = strlen(names);
		(void)snprintf(names + len, sizeof(names) - len, "%s%s", len ? ", " : "",
			       name ? name : "?");
	}
	(void)snprintf(ret_what, SANDBOX_WORDS, "%s", *names ? names : "none");
	/* A service manager may have taken all of it, capset() among them. */
	if (!is_more)
		return 0;
	for (unsigned bit = 0; bit <= CAP_LAST_CAP; bit++) {
		if (!(keep >> bit & 1))
			(void)capng_update(
				CAPNG_DROP,
				(capng_type_t)(KINDS | CAPNG_BOUNDING_SET | CAPNG_AMBIENT), bit);
	}
	if (capng_apply(CAPNG_SELECT_BOTH) != 0 && capng_apply(CAPNG_SELECT_CAPS) != 0)
		return err_set(err, E_IO, "the kernel refused to take them");
	capng_get_caps_process();
	for (unsigned bit = 0; bit <= CAP_LAST_CAP; bit++) {
		if (!(keep >> bit & 1) && capng_have_capability(CAPNG_PERMITTED, bit))
			return err_set(err, E_IO, "some are still there");
	}
	return 0;
}
