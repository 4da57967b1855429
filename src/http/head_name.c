/* Names of fields, the letters they and their values may have, and the names of statuses. */
#include "http/head.h"

static const struct bytes name_text[HEAD_NAME_COUNT] = {
	[HEAD_ACCEPT] = BYTES_LIT("accept"),
	[HEAD_ACCEPT_ENCODING] = BYTES_LIT("accept-encoding"),
	[HEAD_AUTHORIZATION] = BYTES_LIT("authorization"),
	[HEAD_CDN_LOOP] = BYTES_LIT("cdn-loop"),
	[HEAD_CF_ACCESS_JWT_ASSERTION] = BYTES_LIT("cf-access-jwt-assertion"),
	[HEAD_CF_ACCESS_EMAIL] = BYTES_LIT("cf-access-authenticated-user-email"),
	[HEAD_CF_CONNECTING_IP] = BYTES_LIT("cf-connecting-ip"),
	[HEAD_CF_IPCOUNTRY] = BYTES_LIT("cf-ipcountry"),
	[HEAD_CF_RAY] = BYTES_LIT("cf-ray"),
	[HEAD_CF_RESPONSE_HEADERS] = BYTES_LIT("cf-cloudflared-response-headers"),
	[HEAD_CF_RESPONSE_META] = BYTES_LIT("cf-cloudflared-response-meta"),
	[HEAD_CF_UPGRADE] = BYTES_LIT("cf-cloudflared-proxy-connection-upgrade"),
	[HEAD_CF_PROXY_SRC] = BYTES_LIT("cf-cloudflared-proxy-src"),
	[HEAD_CF_VISITOR] = BYTES_LIT("cf-visitor"),
	[HEAD_CONNECTION] = BYTES_LIT("connection"),
	[HEAD_CONTENT_LENGTH] = BYTES_LIT("content-length"),
	[HEAD_CONTENT_TYPE] = BYTES_LIT("content-type"),
	[HEAD_COOKIE] = BYTES_LIT("cookie"),
	[HEAD_DATE] = BYTES_LIT("date"),
	[HEAD_EXPECT] = BYTES_LIT("expect"),
	[HEAD_HOST] = BYTES_LIT("host"),
	[HEAD_HTTP2_SETTINGS] = BYTES_LIT("http2-settings"),
	[HEAD_KEEP_ALIVE] = BYTES_LIT("keep-alive"),
	[HEAD_LOCATION] = BYTES_LIT("location"),
	[HEAD_PROXY_AUTHENTICATE] = BYTES_LIT("proxy-authenticate"),
	[HEAD_PROXY_AUTHORIZATION] = BYTES_LIT("proxy-authorization"),
	[HEAD_PROXY_CONNECTION] = BYTES_LIT("proxy-connection"),
	[HEAD_SEC_WEBSOCKET_ACCEPT] = BYTES_LIT("sec-websocket-accept"),
	[HEAD_SEC_WEBSOCKET_KEY] = BYTES_LIT("sec-websocket-key"),
	[HEAD_SEC_WEBSOCKET_VERSION] = BYTES_LIT("sec-websocket-version"),
	[HEAD_SERVER] = BYTES_LIT("server"),
	[HEAD_SET_COOKIE] = BYTES_LIT("set-cookie"),
	[HEAD_TE] = BYTES_LIT("te"),
	[HEAD_TRAILER] = BYTES_LIT("trailer"),
	[HEAD_TRANSFER_ENCODING] = BYTES_LIT("transfer-encoding"),
	[HEAD_TRUE_CLIENT_IP] = BYTES_LIT("true-client-ip"),
	[HEAD_UPGRADE] = BYTES_LIT("upgrade"),
	[HEAD_USER_AGENT] = BYTES_LIT("user-agent"),
	[HEAD_X_FORWARDED_FOR] = BYTES_LIT("x-forwarded-for"),
	[HEAD_X_FORWARDED_HOST] = BYTES_LIT("x-forwarded-host"),
	[HEAD_X_FORWARDED_PROTO] = BYTES_LIT("x-forwarded-proto"),
};

/* The length of a name tells nearly all of them apart; what is left is compared. The test looks every
 * name up, so a forgotten row shows. */
#define LONGEST_NAME 39
#define SAME_LENGTH 6

static const uint8_t by_length[LONGEST_NAME + 1][SAME_LENGTH] = {
	[2] = { HEAD_TE },
	[4] = { HEAD_HOST, HEAD_DATE },
	[6] = { HEAD_ACCEPT, HEAD_COOKIE, HEAD_CF_RAY, HEAD_SERVER, HEAD_EXPECT },
	[7] = { HEAD_UPGRADE, HEAD_TRAILER },
	[8] = { HEAD_LOCATION, HEAD_CDN_LOOP },
	[10] = { HEAD_CONNECTION, HEAD_USER_AGENT, HEAD_SET_COOKIE, HEAD_KEEP_ALIVE,
		 HEAD_CF_VISITOR },
	[12] = { HEAD_CONTENT_TYPE, HEAD_CF_IPCOUNTRY },
	[13] = { HEAD_AUTHORIZATION },
	[14] = { HEAD_CONTENT_LENGTH, HEAD_HTTP2_SETTINGS, HEAD_TRUE_CLIENT_IP },
	[15] = { HEAD_ACCEPT_ENCODING, HEAD_X_FORWARDED_FOR },
	[16] = { HEAD_CF_CONNECTING_IP, HEAD_PROXY_CONNECTION, HEAD_X_FORWARDED_HOST },
	[17] = { HEAD_TRANSFER_ENCODING, HEAD_SEC_WEBSOCKET_KEY, HEAD_X_FORWARDED_PROTO },
	[18] = { HEAD_PROXY_AUTHENTICATE },
	[19] = { HEAD_PROXY_AUTHORIZATION },
	[20] = { HEAD_SEC_WEBSOCKET_ACCEPT },
	[21] = { HEAD_SEC_WEBSOCKET_VERSION },
	[23] = { HEAD_CF_ACCESS_JWT_ASSERTION },
	[24] = { HEAD_CF_PROXY_SRC },
	[28] = { HEAD_CF_RESPONSE_META },
	[31] = { HEAD_CF_RESPONSE_HEADERS },
	[34] = { HEAD_CF_ACCESS_EMAIL },
	[39] = { HEAD_CF_UPGRADE },
};

enum head_name head_name_of(struct bytes name)
{
	if (name.len > LONGEST_NAME)
		return HEAD_OTHER;
	const uint8_t *candidates = by_length[name.len];
	for (size_t i = 0; i < SAME_LENGTH && candidates[i] != HEAD_OTHER; i++) {
		struct bytes text = name_text[candidates[i]];
		if (bytes_lower(name.ptr[0]) == text.ptr[0] && bytes_eq_nocase(name, text))
			return (enum head_name)candidates[i];
	}
	return HEAD_OTHER;
}

struct bytes head_name_text(enum head_name token)
{
	return (unsigned)token < HEAD_NAME_COUNT ? name_text[token] : BYTES_NONE;
}

/* tchar of RFC 9110 §5.6.2. */
static const bool is_token_byte[256] = {
	['!'] = 1, ['#'] = 1, ['$'] = 1, ['%'] = 1,         ['&'] = 1,         ['\''] = 1,
	['*'] = 1, ['+'] = 1, ['-'] = 1, ['.'] = 1,         ['^'] = 1,         ['_'] = 1,
	['`'] = 1, ['|'] = 1, ['~'] = 1, ['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1,
};

bool head_name_is_valid(struct bytes name)
{
	for (size_t i = 0; i < name.len; i++)
		if (!is_token_byte[name.ptr[i]])
			return false;
	return name.len > 0;
}

bool head_value_is_valid(struct bytes value)
{
	for (size_t i = 0; i < value.len; i++) {
		uint8_t c = value.ptr[i];
		if ((c < ' ' && c != '\t') || c == 0x7f)
			return false;
	}
	return true;
}

void head_name_canonical(struct bytes name, uint8_t *dst)
{
	bool upper = true;

	if (name.len == 0)
		return;
	memcpy(dst, name.ptr, name.len);
	if (!head_name_is_valid(name))
		return;
	for (size_t i = 0; i < name.len; i++) {
		uint8_t c = bytes_lower(name.ptr[i]);
		dst[i] = (uint8_t)(upper && c >= 'a' && c <= 'z' ? c - 32 : c);
		upper = c == '-';
	}
}

/* The IANA registry of status codes, with 418 as everybody knows it. */
static const char *const reasons[600] = {
	[100] = "Continue",
	[101] = "Switching Protocols",
	[102] = "Processing",
	[103] = "Early Hints",
	[200] = "OK",
	[201] = "Created",
	[202] = "Accepted",
	[203] = "Non-Authoritative Information",
	[204] = "No Content",
	[205] = "Reset Content",
	[206] = "Partial Content",
	[207] = "Multi-Status",
	[208] = "Already Reported",
	[226] = "IM Used",
	[300] = "Multiple Choices",
	[301] = "Moved Permanently",
	[302] = "Found",
	[303] = "See Other",
	[304] = "Not Modified",
	[305] = "Use Proxy",
	[307] = "Temporary Redirect",
	[308] = "Permanent Redirect",
	[400] = "Bad Request",
	[401] = "Unauthorized",
	[402] = "Payment Required",
	[403] = "Forbidden",
	[404] = "Not Found",
	[405] = "Method Not Allowed",
	[406] = "Not Acceptable",
	[407] = "Proxy Authentication Required",
	[408] = "Request Timeout",
	[409] = "Conflict",
	[410] = "Gone",
	[411] = "Length Required",
	[412] = "Precondition Failed",
	[413] = "Request Entity Too Large",
	[414] = "Request URI Too Long",
	[415] = "Unsupported Media Type",
	[416] = "Requested Range Not Satisfiable",
	[417] = "Expectation Failed",
	[418] = "I'm a teapot",
	[421] = "Misdirected Request",
	[422] = "Unprocessable Entity",
	[423] = "Locked",
	[424] = "Failed Dependency",
	[425] = "Too Early",
	[426] = "Upgrade Required",
	[428] = "Precondition Required",
	[429] = "Too Many Requests",
	[431] = "Request Header Fields Too Large",
	[451] = "Unavailable For Legal Reasons",
	[500] = "Internal Server Error",
	[501] = "Not Implemented",
	[502] = "Bad Gateway",
	[503] = "Service Unavailable",
	[504] = "Gateway Timeout",
	[505] = "HTTP Version Not Supported",
	[506] = "Variant Also Negotiates",
	[507] = "Insufficient Storage",
	[508] = "Loop Detected",
	[510] = "Not Extended",
	[511] = "Network Authentication Required",
};

const char *head_reason(int status)
{
	if (status < 0 || status >= (int)ARRAY_LEN(reasons) || !reasons[status])
		return "";
	return reasons[status];
}
