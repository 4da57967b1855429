#include "edge/access/github.h"

#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/secret.h"
#include "edge/access/oauth_internal.h"

/* Teams and organisations of one person beyond this are not looked at: a page each has a hundred. */
#define PAGES_MAX 10

/* An Enterprise Server is somewhere else ("github_url"), with its API below /api/v3 unless "github_api_url" says
 * otherwise. */
static const char *base_url(const struct oauth *o)
{
	const char *given = oauth_config(o, "github_url");

	return given[0] ? given : "https://github.com";
}

/* Owned. */
static char *api_url(const struct oauth *o, const char *path)
{
	const char *given = oauth_config(o, "github_api_url");

	if (given[0])
		return mem_printf("%s%s", given, path);
	if (oauth_config(o, "github_url")[0])
		return mem_printf("%s/api/v3%s", base_url(o), path);
	return mem_printf("https://api.github.com%s", path);
}

int github_start(struct oauth *o)
{
	struct buf url;
	int r;

	buf_init(&url, LIMIT_TARGET_BYTES);
	r = buf_printf(&url, "%s/login/oauth/authorize", base_url(o));
	r |= oauth_add_common(&url, o, "read:user user:email read:org");
	if (r == 0)
		o->url = buf_take_str(&url);
	buf_done(&url);
	return r;
}

static json_t *ask(struct oauth *o, const char *token, const char *path)
{
	char *url = api_url(o, path), *bearer = mem_printf("Bearer %s", token);
	const struct fetch_header headers[] = {
		{ "Authorization", bearer },
		{ "Accept", "application/vnd.github+json" },
		{ "User-Agent", "adit-edge" },
	};
	json_t *answer = oauth_fetch(o, &(struct fetch_request){
						.url = url,
						.headers = headers,
						.header_count = ARRAY_LEN(headers),
					});

	secret_wipe(bearer, strlen(bearer));
	mem_free(bearer);
	mem_free(url);
	return answer;
}

/* All pages of a list; a new reference. */
static json_t *ask_list(struct oauth *o, const char *token, const char *path)
{
	json_t *all = json_array(), *page;
	size_t count = 100;

	for (int i = 1; i <= PAGES_MAX && count == 100; i++) {
		char *with_page = mem_printf("%s?per_page=100&page=%d", path, i);

		page = ask(o, token, with_page);
		mem_free(with_page);
		if (!json_is_array(page)) {
			if (page)
				err_set(&o->err, E_PROTOCOL, "GitHub answered no list to %s", path);
			json_decref(page);
			json_decref(all);
			return NULL;
		}
		count = json_array_size(page);
		json_array_extend(all, page);
		json_decref(page);
	}
	if (count < 100)
		return all;
	/* Whoever may be in what is missing might get past an exclusion. */
	err_set(&o->err, E_DENIED,
		"You are in %d organisations or teams of GitHub, or more: that is more than this edge can "
		"keep in mind.",
		PAGES_MAX * 100);
	json_decref(all);
	return NULL;
}

/* The primary address, if GitHub has verified it. */
static const char *primary_email(const json_t *emails)
{
	for (size_t i = 0; i < json_array_size(emails); i++) {
		const json_t *one = json_array_get(emails, i);

		if (json_is_true(json_object_get(one, "primary")) &&
		    json_is_true(json_object_get(one, "verified")))
			return json_string_value(json_object_get(one, "email"));
	}
	return NULL;
}

static json_t *organization_in(json_t *list, const char *login)
{
	json_t *one;
	size_t i;

	json_array_foreach(list, i, one) if (strcmp(json_string_value(json_object_get(one, "name")),
						    login) == 0) return one;
	one = json_pack("{s:s, s:[]}", "name", login, "teams");
	json_array_append_new(list, one);
	return one;
}

static json_t *memberships(const json_t *orgs, const json_t *teams)
{
	json_t *list = json_array();

	for (size_t i = 0; i < json_array_size(orgs); i++) {
		const char *login =
			json_string_value(json_object_get(json_array_get(orgs, i), "login"));
		if (login)
			(void)organization_in(list, login);
	}
	for (size_t i = 0; i < json_array_size(teams); i++) {
		const json_t *team = json_array_get(teams, i);
		const char *slug = json_string_value(json_object_get(team, "slug"));
		const char *login = json_string_value(
			json_object_get(json_object_get(team, "organization"), "login"));

		if (slug && login)
			json_array_append_new(json_object_get(organization_in(list, login), "teams"),
					      json_string(slug));
	}
	return list;
}

static void ask_who(struct oauth *o, const char *token)
{
	json_t *user = ask(o, token, "/user");
	json_t *emails = user ? ask_list(o, token, "/user/emails") : NULL;
	json_t *orgs = emails ? ask_list(o, token, "/user/orgs") : NULL;
	json_t *teams = orgs ? ask_list(o, token, "/user/teams") : NULL;
	const char *email = primary_email(emails);
	const char *name = json_string_value(json_object_get(user, "name"));

	if (teams && !email)
		err_set(&o->err, E_DENIED,
			"GitHub has no verified primary e-mail address of yours. Verify it there, then "
			"sign in again.");
	if (teams && email)
		o->identity = json_pack("{s:s, s:s, s:o, s:{s:O?}}", "email", email, "name",
					name ? name : "", "organizations", memberships(orgs, teams),
					"claims", "login", json_object_get(user, "login"));
	json_decref(user);
	json_decref(emails);
	json_decref(orgs);
	json_decref(teams);
}

void github_finish(struct oauth *o)
{
	char *url = mem_printf("%s/login/oauth/access_token", base_url(o));
	json_t *tokens = oauth_exchange(o, url, false);
	const char *token = json_string_value(json_object_get(tokens, "access_token"));

	if (token)
		ask_who(o, token);
	else if (tokens)
		err_set(&o->err, E_PROTOCOL, "%s gave no token", url);
	json_decref(tokens);
	mem_free(url);
}
