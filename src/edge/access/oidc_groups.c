#include "edge/access/oidc_groups.h"

#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/secret.h"
#include "edge/access/oauth_internal.h"

/* An identity is 64 KiB at most: 39 bytes for a group of Entra's. */
#define GROUPS_MAX 1000
#define PAGES_MAX 5
/* 1000 groups of Google's, with labels and roles beside their names. */
#define ANSWER_BYTES (1024 * 1024)

static bool is_google(const char *kind)
{
	return strcmp(kind, "google") == 0 || strcmp(kind, "google-apps") == 0;
}

static bool is_entra(const struct oauth *o)
{
	return strcmp(o->kind, "azureAD") == 0;
}

static bool asks(const json_t *config)
{
	return json_is_true(json_object_get(config, "support_groups"));
}

bool oidc_has_groups(const char *kind, const json_t *config)
{
	return !is_google(kind) || asks(config);
}

const char *oidc_groups_scope(const struct oauth *o)
{
	if (!asks(o->config))
		return "";
	if (is_google(o->kind))
		return " https://www.googleapis.com/auth/cloud-identity.groups.readonly";
	return is_entra(o) ? " https://graph.microsoft.com/User.Read" : "";
}

/* More than 200 are named in another place instead ("groups overage claim"). */
static bool is_cut_short(const json_t *claims)
{
	return json_object_get(json_object_get(claims, "_claim_names"), "groups") ||
	       json_is_true(json_object_get(claims, "hasgroups"));
}

/* --- Asking ------------------------------------------------------------------------------------------- */

static char *url_of(const struct oauth *o, const char *preset, const char *path)
{
	const char *given = oauth_config(o, "directory_url");

	return mem_printf("%s%s", given[0] ? given : preset, path);
}

/* `body`: JSON to POST; NULL: GET. */
static json_t *ask(struct oauth *o, const json_t *tokens, const char *url, const char *body)
{
	const char *access = json_string_value(json_object_get(tokens, "access_token"));
	char *bearer = mem_printf("Bearer %s", access ? access : "");
	const struct fetch_header headers[] = {
		{ "Authorization", bearer },
		{ "Accept", "application/json" },
		{ "Content-Type", "application/json" },
	};
	size_t before = o->answer_max;

	o->answer_max = ANSWER_BYTES;
	json_t *answer = oauth_fetch(o, &(struct fetch_request){
						.method = body ? "POST" : "GET",
						.url = url,
						.headers = headers,
						.header_count = body ? 3 : 2,
						.body = body ? bytes_str(body) : BYTES_NONE,
					});
	o->answer_max = before;
	secret_wipe(bearer, strlen(bearer));
	mem_free(bearer);
	return answer;
}

static void take(json_t *groups, json_t *name)
{
	if (json_is_string(name))
		json_array_append(groups, name);
}

/* POST /me/getMemberObjects: the ids of all groups, also those that hold others, and of roles. */
static bool ask_graph(struct oauth *o, const json_t *tokens, json_t *groups)
{
	char *url = url_of(o, "https://graph.microsoft.com", "/v1.0/me/getMemberObjects");
	json_t *answer = ask(o, tokens, url, "{\"securityEnabledOnly\":false}"), *one;
	const json_t *list = json_object_get(answer, "value");
	size_t i;

	if (answer && !json_is_array(list))
		err_set(&o->err, E_PROTOCOL, "%s says no groups", url);
	json_array_foreach((json_t *)(uintptr_t)list, i, one) take(groups, one);
	json_decref(answer);
	mem_free(url);
	return o->err.code == 0;
}

/* member_key_id == 'a@example.com' && … (CEL): what would end the text is escaped. */
static char *google_query(const char *email)
{
	struct buf text;
	char *query;
	int r;

	buf_init(&text, 2048);
	r = buf_append_str(&text, "member_key_id == '");
	for (const char *c = email; *c && r == 0; c++)
		r = buf_printf(&text, "%s%c", *c == '\'' || *c == '\\' ? "\\" : "", *c);
	r |= buf_append_str(
		&text, "' && 'cloudidentity.googleapis.com/groups.discussion_forum' in labels");
	query = r < 0 ? NULL : buf_take_str(&text);
	buf_done(&text);
	return query;
}

/* One page; *ret_next: the token of the next one, "" at the end, owned. */
static bool google_page(struct oauth *o, const json_t *tokens, const char *query, const char *page,
			json_t *groups, char **ret_next)
{
	char *base = url_of(o, "https://cloudidentity.googleapis.com",
			    "/v1/groups/-/memberships:searchDirectGroups");
	json_t *answer = NULL, *one;
	struct buf url;
	char *whole;
	size_t i;
	int r;

	buf_init(&url, LIMIT_TARGET_BYTES);
	r = buf_append_str(&url, base);
	r |= oauth_add(&url, "query", query);
	r |= oauth_add(&url, "pageSize", "1000");
	if (page[0])
		r |= oauth_add(&url, "pageToken", page);
	whole = r < 0 ? NULL : buf_take_str(&url);
	if (whole)
		answer = ask(o, tokens, whole, NULL);
	else
		err_set(&o->err, E_LIMIT, "the question for groups is too long");
	if (answer) {
		const char *next = json_string_value(json_object_get(answer, "nextPageToken"));

		json_array_foreach(json_object_get(answer, "memberships"), i, one)
			take(groups, json_object_get(json_object_get(one, "groupKey"), "id"));
		*ret_next = mem_strdup(next ? next : "");
	}
	bool works = answer != NULL;
	json_decref(answer);
	buf_done(&url);
	mem_free(whole);
	mem_free(base);
	return works;
}

/* The groups somebody is in themselves; what those are in takes an edition of Workspace that few have. */
static bool ask_google(struct oauth *o, const json_t *tokens, const char *email, json_t *groups)
{
	char *query = google_query(email), *page = mem_strdup(""), *next = NULL;
	bool is_done = false, works = query != NULL;

	for (int i = 0; works && !is_done && i < PAGES_MAX; i++) {
		works = google_page(o, tokens, query, page, groups, &next);
		if (!works)
			break;
		mem_free(page);
		page = TAKE(next);
		is_done = !page[0];
	}
	if (!o->err.code && !is_done)
		err_set(&o->err, E_LIMIT, "the provider says groups without end");
	mem_free(query);
	mem_free(page);
	return works && is_done;
}

/* --- What is known ------------------------------------------------------------------------------------- */

bool oidc_groups(struct oauth *o, const json_t *tokens, const json_t *claims, const char *email,
		 json_t **ret)
{
	bool is_cut = is_entra(o) && is_cut_short(claims);
	json_t *groups;
	bool works = true;

	*ret = NULL;
	if (is_cut && !asks(o->config)) {
		err_set(&o->err, E_DENIED,
			"You are in more groups than the identity provider says at once. An administrator "
			"has to set \"support_groups\" for it here.");
		return false;
	}
	groups = json_array();
	if (is_cut)
		works = ask_graph(o, tokens, groups);
	else if (is_google(o->kind) && asks(o->config))
		works = ask_google(o, tokens, email, groups);
	else
		json_array_extend(groups, json_object_get(claims, "groups"));
	if (!works) {
		o->told =
			"The identity provider did not say which groups you are in, so nobody was signed "
			"in. The log of the edge has the reason.";
		err_wrap(&o->err, "groups");
	} else if (json_array_size(groups) > GROUPS_MAX) {
		err_set(&o->err, E_DENIED,
			"You are in more than %d groups: that is more than this edge can keep in mind.",
			GROUPS_MAX);
		works = false;
	}
	if (works && json_array_size(groups))
		*ret = json_incref(groups);
	json_decref(groups);
	return works;
}
