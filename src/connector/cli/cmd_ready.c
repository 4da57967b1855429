#include "base/mem.h"
#include "connector/cli/cli.h"
#include "http/fetch.h"

int cmd_ready(struct cli *cli)
{
	const char *address = settings_text(&cli->settings, FLAG_METRICS);
	struct fetch_response response;
	struct err err = { 0 };
	int code = 0;

	if (!settings_is_set(&cli->settings, FLAG_METRICS)) {
		err_set(&err, E_INVALID, "--metrics has to be provided");
		return cli_failed(cli, &err);
	}
	char *url = mem_printf("http://%s/ready", address);
	const struct fetch_request request = { .url = url };
	if (fetch(&request, &response, &err) < 0) {
		code = cli_failed(cli, &err);
	} else {
		if (response.status != 200) {
			(void)fprintf(stderr, "%s endpoint returned status code %d\n%.*s\n", url,
				      response.status, (int)response.body.len,
				      response.body.ptr ? (const char *)response.body.ptr : "");
			code = 1;
		}
		fetch_response_done(&response);
	}
	mem_free(url);
	return code;
}
