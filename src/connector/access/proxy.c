#include "connector/access/proxy.h"

#define SETTING "HTTPS_PROXY"

int proxy_choose(struct arena *a, const char *https_proxy, const char *no_proxy, struct bytes host,
		 uint16_t port, struct proxy *ret, struct err *err)
{
	struct proxy proxy;

	if (!https_proxy || !*https_proxy || proxy_is_bypassed(no_proxy, host, port))
		return 0;
	int r = proxy_parse(a, https_proxy, SETTING, &proxy, err);
	if (r < 0)
		return r;
	if (proxy.kind != PROXY_HTTP)
		return err_set(err, E_UNSUPPORTED,
			       SETTING " names a proxy of the kind \"%s\"; this version goes "
				       "through http:// ones only",
			       proxy_scheme(&proxy));
	*ret = proxy;
	return 1;
}
