/* One call of the API: request, envelope, errors. */
#include "connector/cli/rest.h"

#include <stdlib.h>

#include "base/mem.h"
#include "connector/cli/files.h"
#include "http/fetch.h"

#define DEFAULT_BASE "https://api.cloudflare.com/client/v4"
/* A page of a thousand tunnels with four connections each is about 1 MB. */
#define LIMIT_ANSWER_BYTES (8 * 1024 * 1024)

int rest_open(const struct cli *cli, struct rest *ret, struct err *err)
{
	const char *flag = settings_text(&cli->settings, FLAG_API_URL);
	const char *ca = settings_text(&cli->settings, FLAG_CACERT);
	struct rest api = { .cli = cli };
	int r = file_read_login(cli->program, settings_text(&cli->settings, FLAG_ORIGINCERT),
				&api.login, &api.login_path, err);

	if (r < 0)
		return r;
	const char *base = *flag ? flag : api.login.place.api_url;
	struct bytes text = bytes_str(base ? base : DEFAULT_BASE);
	while (text.len && text.ptr[text.len - 1] == '/')
		text.len--;
	api.base = mem_strndup(text);
	api.ca_file = *ca ? file_expand(ca) : NULL;
	*ret = api;
	return 0;
}

void rest_done(struct rest *api)
{
	login_done(&api->login);
	mem_free(api->login_path);
	mem_free(api->base);
	mem_free(api->ca_file);
	*api = (struct rest){ 0 };
}

/* ------------------------------------------------------------------------------------------ */

static const char *status_text(int status)
{
	static const struct {
		int status;
		const char *text;
	} texts[] = {
		{ 301, "Moved Permanently" },
		{ 302, "Found" },
		{ 405, "Method Not Allowed" },
		{ 408, "Request Timeout" },
		{ 409, "Conflict" },
		{ 413, "Request Entity Too Large" },
		{ 429, "Too Many Requests" },
		{ 500, "Internal Server Error" },
		{ 501, "Not Implemented" },
		{ 502, "Bad Gateway" },
		{ 503, "Service Unavailable" },
		{ 504, "Gateway Timeout" },
		{ 201, "Created" },
		{ 204, "No Content" },
	};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		if (texts[i].status == status)
			return texts[i].text;
	return "";
}

/* "code: 1, reason: a" of one error. */
static void error_text(const json_t *error, char *text, size_t size)
{
	const json_t *code = json_object_get(error, "code");
	const char *message = json_string_value(json_object_get(error, "message"));

	if (json_is_integer(code))
		(void)snprintf(text, size, "code: %lld, reason: %.300s",
			       (long long)json_integer_value(code), message ? message : "");
	else
		(void)snprintf(text, size, "code: %.20s, reason: %.300s",
			       json_is_string(code) ? json_string_value(code) : "",
			       message ? message : "");
	/* It goes to a terminal. */
	for (; *text; text++)
		if ((uint8_t)*text < ' ' || *text == 0x7f)
			*text = ' ';
}

/* E_OK when the envelope names no error. */
static int check_errors(const json_t *envelope, struct err *err)
{
	const json_t *errors = json_object_get(envelope, "errors");
	size_t count = json_array_size(errors), used = 0;
	char one[400], all[400] = "";

	if (count == 0)
		return 0;
	for (size_t i = 0; i < count && used < sizeof(all); i++) {
		error_text(json_array_get(errors, i), one, sizeof(one));
		used += (size_t)snprintf(all + used, sizeof(all) - used, "%s; ", one);
	}
	error_text(json_array_get(errors, 0), one, sizeof(one));
	return count == 1 ? err_set(err, E_DENIED, "%s", one)
			  : err_set(err, E_DENIED, "API errors: %s", all);
}

static json_t *parse(const struct fetch_response *response, struct err *err)
{
	json_error_t why;
	json_t *envelope = json_loadb(response->body.ptr ? (const char *)response->body.ptr : "",
				      response->body.len, 0, &why);

	if (!envelope)
		err_set(err, E_PARSE, "failed to decode response: %s", why.text);
	else if (!json_is_object(envelope))
		err_set(err, E_PARSE, "failed to decode response: it is not an object");
	else
		return envelope;
	json_decref(envelope);
	return NULL;
}

static int error_status(const struct rest_call *call, const struct fetch_response *response,
			struct err *err)
{
	if (strcmp(response->content_type, "application/json") == 0) {
		json_t *envelope = parse(response, NULL);
		int r = envelope ? check_errors(envelope, err) : 0;
		json_decref(envelope);
		if (r < 0) {
			err_wrap(err, "Failed to %s", call->operation);
			return r;
		}
	}
	switch (response->status) {
	case 200:
		return 0;
	case 400:
		return err_set(err, E_INVALID, "incorrect request parameters");
	case 401:
	case 403:
		return err_set(err, E_DENIED, "unauthorized");
	case 404:
		return err_set(err, E_NOT_FOUND, "not found");
	default:
		return err_set(err, E_PROTOCOL, "API call to %s failed with status %d: %s",
			       call->operation, response->status, status_text(response->status));
	}
}

static int read_answer(const struct rest_call *call, const struct fetch_response *response,
		       json_t **ret, struct err *err)
{
	if (call->conflict && response->status == 409)
		return err_set(err, E_EXISTS, "%s", call->conflict);
	if (response->status != 200 || call->is_status_enough) {
		int r = error_status(call, response, err);
		return r < 0 && call->is_page ? err_wrap(err, "REST request failed") : r;
	}
	json_t *envelope = parse(response, err);
	if (!envelope)
		return E_PARSE;
	int r = check_errors(envelope, err);
	if (r == 0 && !json_is_true(json_object_get(envelope, "success")))
		r = err_set(err, E_PROTOCOL, "API call failed");
	if (r == 0 && !json_object_get(envelope, "result"))
		r = err_set(
			err, E_PROTOCOL,
			"the Cloudflare API response was an unexpected type: unexpected end of JSON "
			"input");
	if (r == 0)
		*ret = envelope;
	else
		json_decref(envelope);
	return r;
}

int rest_call(struct rest *api, const struct rest_call *call, json_t **ret_envelope, struct err *err)
{
	const struct login *login = &api->login;
	char *url = mem_printf("%s/%s/%s%s%s%s", api->base, call->is_zone ? "zones" : "accounts",
			       call->is_zone ? login->zone : login->account, call->path,
			       call->query ? "?" : "", call->query ? call->query : "");
	char *bearer = mem_printf("Bearer %.*s", (int)login->api_token.len,
				  (const char *)login->api_token.ptr);
	char *agent = mem_printf("%s/%s", api->cli->program, ADIT_VERSION);
	char *body = call->body ? json_dumps(call->body, JSON_COMPACT) : NULL;
	const struct fetch_header headers[] = {
		{ "Authorization", bearer },
		{ "User-Agent", agent },
		{ "Accept", "application/json;version=1" },
		{ "Content-Type", "application/json" },
	};
	const struct fetch_request request = {
		.method = call->method,
		.url = url,
		.headers = headers,
		.header_count = body ? 4 : 3,
		.body = body ? bytes_str(body) : BYTES_NONE,
		.body_max = LIMIT_ANSWER_BYTES,
		.ca_file = api->ca_file,
		.ca_pem = bytes_str(login->place.ca),
	};
	struct fetch_response response;

	int r = fetch(&request, &response, err);
	if (r < 0) {
		err_wrap(err, "REST request failed");
	} else {
		r = read_answer(call, &response, ret_envelope, err);
		/* A token may be in it. */
		secret_wipe(response.body.ptr, response.body.len);
		fetch_response_done(&response);
	}
	secret_wipe(bearer, strlen(bearer));
	mem_free(bearer);
	mem_free(url);
	mem_free(agent);
	if (body)
		secret_wipe(body, strlen(body));
	free(body); /* allowed: jansson made it */
	return r;
}
