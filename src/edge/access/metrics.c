#include "edge/access/metrics.h"

struct metric metric_access_sessions = {
	.name = "adit_edge_access_sessions",
	.help = "Sessions of people who are signed in",
	.type = METRIC_GAUGE,
};

static struct metric_set decisions = {
	.name = "adit_edge_access_decisions_total",
	.help = "What Access decided, by application",
	.type = METRIC_COUNTER,
	.label_names = { "app", "outcome" },
	.max = ACCESS_METRIC_NAMES * COUNTED_KINDS,
};
static struct metric_set signins = {
	.name = "adit_edge_access_signins_total",
	.help = "Sign-ins, by the type of the identity provider",
	.type = METRIC_COUNTER,
	.label_names = { "method", "outcome" },
	.max = ACCESS_METRIC_NAMES,
};
static struct metric_set tokens = {
	.name = "adit_edge_access_tokens_total",
	.help = "Tokens that were signed",
	.type = METRIC_COUNTER,
	.label_names = { "type" },
	.max = ACCESS_METRIC_NAMES,
};
static struct metric_set revocations = {
	.name = "adit_edge_access_revocations_total",
	.help = "What was signed out or revoked",
	.type = METRIC_COUNTER,
	.label_names = { "of" },
	.max = ACCESS_METRIC_NAMES,
};
static struct metric_set providers = {
	.name = "adit_edge_access_provider_requests_total",
	.help = "Steps at identity providers and mail servers, by provider",
	.type = METRIC_COUNTER,
	.label_names = { "provider", "outcome" },
	.max = ACCESS_METRIC_NAMES * 3,
};

static const int64_t bounds[] = {
	50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000
};
static struct histogram latency = {
	.sum = { .name = "adit_edge_access_provider_seconds",
		 .help = "How long steps at identity providers and mail servers took",
		 .type = METRIC_HISTOGRAM,
		 .per_unit = USEC_PER_SEC },
	.bounds = bounds,
	.bound_count = ARRAY_LEN(bounds),
};

struct metric *access_metric_decision(const char *app, enum access_counted what)
{
	static const char *const names[COUNTED_KINDS] = {
		[COUNTED_ALLOWED] = "allowed",   [COUNTED_SERVICE] = "service",
		[COUNTED_BYPASSED] = "bypassed", [COUNTED_SIGN_IN] = "sign_in",
		[COUNTED_REFUSED] = "refused",
	};

	return metric_of(&decisions, bytes_str(app), bytes_str(names[what]));
}

static void count(struct metric_set *set, const char *a, const char *b)
{
	metric_add(metric_of(set, bytes_str(a), bytes_str(b)), 1);
}

void access_count_signin(const char *method, const char *outcome)
{
	count(&signins, method, outcome);
}

void access_count_token(const char *type)
{
	count(&tokens, type, "");
}

void access_count_revocation(const char *of)
{
	count(&revocations, of, "");
}

void access_count_provider(const char *provider, const char *outcome, usec took)
{
	count(&providers, provider, outcome);
	histogram_observe(&latency, took);
}

void access_register_metrics(void)
{
	metric_register(&metric_access_sessions);
	histogram_register(&latency);
}
