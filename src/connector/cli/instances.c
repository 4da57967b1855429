#include "connector/cli/instances.h"

#include "base/log.h"
#include "base/mem.h"
#include "io/address.h"

#define COMPONENT "connector/cli"

/* Nothing listens on most of the ports; whoever does answers at once, or is no connector. */
#define SEARCH_TIMEOUT (2 * USEC_PER_SEC)
/* A file of ten thousand rules, with every key of each. */
#define ANSWER_BYTES (32 * 1024 * 1024)

void instance_done(struct instance *i)
{
	i->address = mem_free(i->address);
	json_decref(i->state);
	i->state = NULL;
}

char *instance_given(const struct settings *s)
{
	struct bytes text = bytes_str(settings_text(s, FLAG_METRICS)), host;
	uint16_t port;
	struct err err;

	if (!settings_is_set(s, FLAG_METRICS))
		return NULL;
	if (bytes_starts_with(text, BYTES_LIT("http://")))
		text = bytes_from(text, 7);
	text = bytes_first(text, bytes_index(text, '/'));
	if (address_split(text, &host, &port, &err) < 0)
		return mem_strndup(text); /* it will be told what is wrong with it */
	if (port == 0)
		return NULL;
	if (host.len == 0 || bytes_eq(host, BYTES_LIT("0.0.0.0")) || bytes_eq(host, BYTES_LIT("::")))
		return mem_printf("localhost:%u", port);
	return mem_strndup(text);
}

int instance_get(const char *address, const char *path, usec timeout, struct fetch_response *ret,
		 struct err *err)
{
	char *url = mem_printf("http://%s%s", address, path);
	const struct fetch_request request = {
		.url = url,
		.timeout = timeout,
		.connect_timeout = timeout,
		.body_max = ANSWER_BYTES,
	};
	int r = fetch(&request, ret, err);

	mem_free(url);
	return r;
}

json_t *instance_get_json(const char *address, const char *path, usec timeout, struct err *err)
{
	struct fetch_response response;
	json_error_t error;
	json_t *value = NULL;

	if (instance_get(address, path, timeout, &response, err) < 0)
		return NULL;
	if (response.status != 200)
		err_set(err, E_NOT_FOUND, "http://%s%s answers with status %d", address, path,
			response.status);
	else if (!(value = json_loadb((const char *)response.body.ptr, response.body.len, 0, &error)))
		err_set(err, E_PARSE, "http://%s%s: %s", address, path, error.text);
	fetch_response_done(&response);
	return value;
}

size_t instances_find(struct instance list[INSTANCE_PORTS], char **ret_silent)
{
	char *silent = NULL;
	size_t count = 0;

	for (int i = 0; i < INSTANCE_PORTS; i++) {
		char *address = mem_printf("localhost:%d", INSTANCE_FIRST_PORT + i);
		struct err err = { 0 };
		json_t *state = instance_get_json(address, "/diag/tunnel", SEARCH_TIMEOUT, &err);
		if (json_is_string(json_object_get(state, "connectorID"))) {
			list[count++] = (struct instance){ address, state };
			continue;
		}
		json_decref(state);
		if (!silent && err.code == E_TIMEOUT)
			silent = TAKE(address);
		mem_free(address);
	}
	if (ret_silent)
		*ret_silent = silent;
	else
		mem_free(silent);
	return count;
}

static const char *text_of(const json_t *state, const char *key)
{
	const char *text = json_string_value(json_object_get(state, key));

	return text ? text : "";
}

void instances_print(const struct instance *list, size_t count)
{
	log_info(COMPONENT, "Found multiple instances running:");
	for (size_t i = 0; i < count; i++)
		log_info(COMPONENT,
			 "Instance:", LOG_STR("tunnel-id", text_of(list[i].state, "tunnelID")),
			 LOG_STR("connector-id", text_of(list[i].state, "connectorID")),
			 LOG_STR("metrics-address", list[i].address));
	log_info(COMPONENT, "To select one instance use the option --metrics");
}
