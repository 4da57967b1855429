#include "base/log.h"
#include "base/mem.h"
#include "connector/cli/cli.h"
#include "connector/cli/instances.h"

/* An orchestrator that asks has a time-out of its own, of a second or so; people have patience. */
#define READY_TIMEOUT (10 * USEC_PER_SEC)

static int ask(const struct cli *cli, const char *address)
{
	struct fetch_response response;
	struct err err = { 0 };
	int code = 0;

	if (instance_get(address, "/ready", READY_TIMEOUT, &response, &err) < 0)
		return cli_failed(cli, &err);
	if (response.status != 200) {
		(void)fprintf(stderr, "http://%s/ready endpoint returned status code %d\n%.*s\n",
			      address, response.status, (int)response.body.len,
			      response.body.ptr ? (const char *)response.body.ptr : "");
		code = 1;
	}
	fetch_response_done(&response);
	return code;
}

int cmd_ready(struct cli *cli)
{
	char *given = instance_given(&cli->settings);
	struct instance found[INSTANCE_PORTS];
	struct err err = { 0 };
	int code;

	if (given) {
		code = ask(cli, given);
		mem_free(given);
		return code;
	}
	size_t count = instances_find(found, NULL);
	if (count == 1) {
		code = ask(cli, found[0].address);
	} else if (count > 1) {
		instances_print(found, count);
		code = 1;
	} else {
		err_set(&err, E_NOT_FOUND,
			"No instance answers on localhost, ports %d to %d. Where a connector has "
			"another address, --metrics has to be provided",
			INSTANCE_FIRST_PORT, INSTANCE_FIRST_PORT + INSTANCE_PORTS - 1);
		code = cli_failed(cli, &err);
	}
	for (size_t i = 0; i < count; i++)
		instance_done(&found[i]);
	return code;
}
