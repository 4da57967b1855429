/* How handshakes of visitors ended. */
#include "base/metrics.h"
#include "tls/tls_internal.h"

#define DONE_HELP \
	"TLS handshakes with visitors that succeeded, by version and whether a session was resumed"
#define CIPHER_HELP "The same by cipher"
#define FAILED_HELP "TLS handshakes with visitors that failed, by reason"

#define DONE(version_, kind_)                                                               \
	{                                                                                   \
		.name = "adit_edge_tls_handshakes_total",                                   \
		.labels = "version=\"" version_ "\",kind=\"" kind_ "\"", .help = DONE_HELP, \
	}
#define CIPHER(name_)                                                                    \
	{                                                                                \
		.name = "adit_edge_tls_ciphers_total", .labels = "cipher=\"" name_ "\"", \
		.help = CIPHER_HELP,                                                     \
	}
#define FAILED(reason_)                                                                     \
	{                                                                                   \
		.name = "adit_edge_tls_failures_total", .labels = "reason=\"" reason_ "\"", \
		.help = FAILED_HELP,                                                        \
	}

/* [is 1.3][is resumed] */
static struct metric done[2][2] = {
	{ DONE("1.2", "full"), DONE("1.2", "resumed") },
	{ DONE("1.3", "full"), DONE("1.3", "resumed") },
};

static const gnutls_cipher_algorithm_t ciphers[] = {
	GNUTLS_CIPHER_AES_128_GCM,
	GNUTLS_CIPHER_CHACHA20_POLY1305,
	GNUTLS_CIPHER_AES_256_GCM,
};
static struct metric by_cipher[] = {
	CIPHER("AES-128-GCM"),
	CIPHER("CHACHA20-POLY1305"),
	CIPHER("AES-256-GCM"),
	CIPHER("other"),
};

static struct metric failed[TLS_FAILURES] = {
	[TLS_FAILURE_TIMEOUT] = FAILED("timeout"),
	[TLS_FAILURE_CLOSED] = FAILED("closed"),
	[TLS_FAILURE_NO_TLS] = FAILED("no_tls"),
	[TLS_FAILURE_NAME] = FAILED("unrecognized_name"),
	[TLS_FAILURE_VERSION] = FAILED("version"),
	[TLS_FAILURE_NOTHING_IN_COMMON] = FAILED("nothing_in_common"),
	[TLS_FAILURE_ALPN] = FAILED("alpn"),
	[TLS_FAILURE_CLIENT_CERTIFICATE] = FAILED("client_certificate"),
	[TLS_FAILURE_ALERT] = FAILED("refused_by_peer"),
	[TLS_FAILURE_OTHER] = FAILED("other"),
};

void tls_register_metrics(void)
{
	for (size_t i = 0; i < 2; i++)
		for (size_t j = 0; j < 2; j++)
			metric_register(&done[i][j]);
	for (size_t i = 0; i < ARRAY_LEN(by_cipher); i++)
		metric_register(&by_cipher[i]);
	for (size_t i = 0; i < TLS_FAILURES; i++)
		metric_register(&failed[i]);
}

void tls_totals(struct tls_totals *ret)
{
	*ret = (struct tls_totals){
		.full = metric_get(&done[0][0]) + metric_get(&done[1][0]),
		.resumed = metric_get(&done[0][1]) + metric_get(&done[1][1]),
	};
	for (size_t i = 0; i < TLS_FAILURES; i++)
		ret->failed += metric_get(&failed[i]);
}

void tls_count_done(const struct tls_context *c, gnutls_session_t gnutls)
{
	gnutls_cipher_algorithm_t cipher = gnutls_cipher_get(gnutls);
	size_t i = 0;

	if (!c->is_counted)
		return;
	metric_add(&done[gnutls_protocol_get_version(gnutls) == GNUTLS_TLS1_3]
			[gnutls_session_is_resumed(gnutls) != 0],
		   1);
	while (i < ARRAY_LEN(ciphers) && ciphers[i] != cipher)
		i++;
	metric_add(&by_cipher[i], 1);
}

void tls_count_failure(const struct tls_context *c, enum tls_failure reason)
{
	if (c->is_counted)
		metric_add(&failed[reason], 1);
}

enum tls_failure tls_failure_of(int gnutls_code)
{
	switch (gnutls_code) {
	case GNUTLS_E_UNEXPECTED_PACKET_LENGTH:
	case GNUTLS_E_RECORD_OVERFLOW:
	case GNUTLS_E_UNEXPECTED_PACKET:
		return TLS_FAILURE_NO_TLS;
	case GNUTLS_E_RECEIVED_DISALLOWED_NAME:
	case GNUTLS_E_UNRECOGNIZED_NAME:
		return TLS_FAILURE_NAME;
	case GNUTLS_E_UNSUPPORTED_VERSION_PACKET:
		return TLS_FAILURE_VERSION;
	case GNUTLS_E_NO_CIPHER_SUITES:
	case GNUTLS_E_NO_COMMON_KEY_SHARE:
	case GNUTLS_E_ECC_NO_SUPPORTED_CURVES:
	case GNUTLS_E_INSUFFICIENT_CREDENTIALS:
		return TLS_FAILURE_NOTHING_IN_COMMON;
	case GNUTLS_E_NO_APPLICATION_PROTOCOL:
		return TLS_FAILURE_ALPN;
	case GNUTLS_E_CERTIFICATE_REQUIRED:
	case GNUTLS_E_NO_CERTIFICATE_FOUND:
	case GNUTLS_E_CERTIFICATE_ERROR:
	case GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR:
		return TLS_FAILURE_CLIENT_CERTIFICATE;
	case GNUTLS_E_FATAL_ALERT_RECEIVED:
		return TLS_FAILURE_ALERT;
	default:
		return TLS_FAILURE_OTHER;
	}
}

enum tls_failure tls_failure_of_alert(gnutls_alert_description_t alert)
{
	if (alert == GNUTLS_A_UNRECOGNIZED_NAME)
		return TLS_FAILURE_NAME;
	return alert == GNUTLS_A_PROTOCOL_VERSION ? TLS_FAILURE_VERSION
						  : TLS_FAILURE_CLIENT_CERTIFICATE;
}
