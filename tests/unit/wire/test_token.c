/* Run tokens, credentials files and login certificates: round trips, stock's forms, and every refusal
 * with its text. */
#include "unit/wire/vectors.h"
#include "wire/token.h"

#define BYTES (256 * 1024)
#define SECRET "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
#define SECRET_RAW "0123456789abcdef0123456789abcdef"
#define TUNNEL "11111111-2222-4333-8444-555555555555"
#define CA "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
#define CA_JSON "-----BEGIN CERTIFICATE-----\\nMIIB\\n-----END CERTIFICATE-----\\n"

static int decode_token(const char *json, struct token *t, struct err *err)
{
	char *text = base64_text(BASE64_STD, bytes_str(json));
	int rc = token_decode(bytes_str(text), t, err);

	mem_free(text);
	return rc;
}

static int decode_login(const char *json, struct login *l, struct err *err)
{
	char *text = base64_text(BASE64_STD, bytes_str(json));
	char *pem = mem_printf(
		"-----BEGIN ARGO TUNNEL TOKEN-----\n%s\n-----END ARGO TUNNEL TOKEN-----\n", text);
	int rc = login_decode(bytes_str(pem), l, err);

	mem_free(text);
	mem_free(pem);
	return rc;
}

static void assert_place(const struct token_place *p)
{
	assert_int_equal(p->edge_count, 3);
	assert_string_equal(p->edges[0], "edge.example.org:7844");
	assert_string_equal(p->edges[1], "[2001:db8::1]:7844");
	assert_string_equal(p->edges[2], "192.0.2.1:443");
	assert_string_equal(p->ca, CA);
	assert_string_equal(p->api_url, "https://adit.example.org/client/v4");
}

#define PLACE                                                                                             \
	"\"edge\":[\"edge.example.org:7844\",\"[2001:db8::1]:7844\",\"192.0.2.1:443\"],\"ca\":\"" CA_JSON \
	"\",\"apiURL\":\"https://adit.example.org/client/v4\""
#define PLACE_FILE                                                                                        \
	"\"Edge\":[\"edge.example.org:7844\",\"[2001:db8::1]:7844\",\"192.0.2.1:443\"],\"CA\":\"" CA_JSON \
	"\",\"APIURL\":\"https://adit.example.org/client/v4\""

/* --- Run token ------------------------------------------------------------------------------- */

static void a_token_reads_and_writes_back(void **state)
{
	static const char *const texts[] = {
		"{\"a\":\"acc\",\"s\":\"" SECRET "\",\"t\":\"" TUNNEL "\"}",
		"{\"a\":\"acc\",\"s\":\"" SECRET "\",\"t\":\"" TUNNEL "\",\"e\":\"fed\"}",
		"{\"a\":\"acc\",\"s\":\"" SECRET "\",\"t\":\"" TUNNEL "\"," PLACE "}",
	};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct token t;
		struct buf out;
		char id[UUID_TEXT_SIZE];
		struct err err;

		if (decode_token(texts[i], &t, &err) < 0)
			fail_msg("%s", err.text);
		assert_string_equal(t.account, "acc");
		assert_true(secret_eq(&t.secret, BYTES_LIT(SECRET_RAW)));
		assert_true(t.has_tunnel);
		assert_string_equal(uuid_text(&t.tunnel, id), TUNNEL);
		if (i == 1)
			assert_string_equal(t.endpoint, "fed");
		else
			assert_null(t.endpoint);
		if (i == 2)
			assert_place(&t.place);
		else
			assert_int_equal(t.place.edge_count, 0);
		buf_init(&out, BYTES);
		assert_int_equal(token_encode(&out, &t), 0);
		char *want = base64_text(BASE64_STD, bytes_str(texts[i]));
		assert_text(buf_bytes(&out), want);
		mem_free(want);
		buf_done(&out);
		token_done(&t);
		token_done(&t);
	}
}

static void a_pasted_token_may_have_blanks_around_it(void **state)
{
	struct token t;
	char *text = base64_text(BASE64_STD, BYTES_LIT("{\"A\":\"acc\",\"S\":\"" SECRET
						       "\",\"T\":\"" TUNNEL "\",\"x\":[1]}"));
	char *padded = mem_printf(" \t%s\r\n", text);

	assert_int_equal(token_decode(bytes_str(padded), &t, NULL), 0);
	assert_string_equal(t.account, "acc");
	token_done(&t);
	mem_free(text);
	mem_free(padded);
}

static void bad_tokens_are_refused_by_member(void **state)
{
	static const struct {
		const char *json, *why;
	} cases[] = {
		{ "", "tunnel token: empty token" },
		{ "x", "tunnel token: not valid JSON near line 1, column 1" },
		{ "[]", "tunnel token: not a JSON object" },
		{ "{}", "tunnel token: \"a\" is missing" },
		{ "{\"a\":1}", "tunnel token: \"a\" is not a string" },
		{ "{\"a\":\"a b\"}", "tunnel token: \"a\" has characters it cannot have" },
		{ "{\"a\":\"a\"}", "tunnel token: \"s\" is missing" },
		{ "{\"a\":\"a\",\"s\":null}", "tunnel token: \"s\" is missing" },
		{ "{\"a\":\"a\",\"s\":7}", "tunnel token: \"s\" is not a string" },
		{ "{\"a\":\"a\",\"s\":\"####\"}", "tunnel token: \"s\" is not base64" },
		{ "{\"a\":\"a\",\"s\":\"YWJj\"}", "tunnel token: \"s\" is shorter than 32 bytes" },
		{ "{\"a\":\"a\",\"s\":\"" SECRET "\"}", "tunnel token: \"t\" is missing" },
		{ "{\"a\":\"a\",\"s\":\"" SECRET "\",\"t\":\"x\"}",
		  "tunnel token: \"t\" is not the id of a tunnel" },
		{ "{\"a\":\"a\",\"s\":\"" SECRET
		  "\",\"t\":\"00000000-0000-0000-0000-000000000000\"}",
		  "tunnel token: \"t\" is not the id of a tunnel" },
		{ "{\"a\":\"a\",\"s\":\"" SECRET "\",\"t\":\"" TUNNEL "\",\"edge\":\"x:1\"}",
		  "tunnel token: \"edge\" is not a list" },
		{ "{\"a\":\"a\",\"s\":\"" SECRET "\",\"t\":\"" TUNNEL
		  "\",\"edge\":[\"x:1\",\"x y\"]}",
		  "tunnel token: \"edge\": entry 2 is not host:port" },
		{ "{\"a\":\"a\",\"s\":\"" SECRET "\",\"t\":\"" TUNNEL "\",\"edge\":[\"x:0\"]}",
		  "tunnel token: \"edge\": entry 1 is not host:port" },
		{ "{\"a\":\"a\",\"s\":\"" SECRET "\",\"t\":\"" TUNNEL "\",\"edge\":[\"x:65536\"]}",
		  "tunnel token: \"edge\": entry 1 is not host:port" },
		{ "{\"a\":\"a\",\"s\":\"" SECRET "\",\"t\":\"" TUNNEL
		  "\",\"edge\":[\"2001:db8::1:7844\"]}",
		  "tunnel token: \"edge\": entry 1 is not host:port" },
		{ "{\"a\":\"a\",\"s\":\"" SECRET "\",\"t\":\"" TUNNEL "\",\"edge\":[\":7844\"]}",
		  "tunnel token: \"edge\": entry 1 is not host:port" },
		{ "{\"a\":\"a\",\"s\":\"" SECRET "\",\"t\":\"" TUNNEL "\",\"edge\":[1]}",
		  "tunnel token: \"edge\": entry 1 is not host:port" },
		{ "{\"a\":\"a\",\"s\":\"" SECRET "\",\"t\":\"" TUNNEL "\",\"ca\":\"MIIB\"}",
		  "tunnel token: \"ca\" is not a PEM certificate" },
		{ "{\"a\":\"a\",\"s\":\"" SECRET "\",\"t\":\"" TUNNEL "\",\"apiURL\":\"ftp://x\"}",
		  "tunnel token: \"apiURL\" is not an http(s) URL" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct token t;
		struct err err = { 0 };

		assert_true(decode_token(cases[i].json, &t, &err) < 0);
		if (i == 0)
			assert_string_equal(err.text, "empty token");
		else
			assert_string_equal(err.text, cases[i].why);
		assert_null(t.account);
		assert_null(t.secret.ptr);
		assert_true(decode_token(cases[i].json, &t, NULL) < 0);
	}
	struct token t;
	struct err err;
	assert_int_equal(token_decode(BYTES_LIT("not base64!"), &t, &err), E_PARSE);
	assert_string_equal(err.text, "tunnel token: not base64");
}

static void tokens_are_bounded(void **state)
{
	static uint8_t large[TOKEN_TEXT_BYTES + 1];
	struct token t;
	struct err err;

	memset(large, 'A', sizeof(large));
	assert_int_equal(token_decode(bytes_of(large, sizeof(large)), &t, &err), E_LIMIT);
	assert_int_equal(token_decode_credentials(bytes_of(large, sizeof(large)), &t, &err),
			 E_LIMIT);

	char *account = mem_printf("{\"a\":\"%0*d\"}", TOKEN_ACCOUNT_BYTES + 1, 0);
	assert_int_equal(decode_token(account, &t, &err), E_LIMIT);
	assert_string_equal(err.text, "tunnel token: \"a\" is longer than 128 bytes");
	mem_free(account);
	char *raw = base64_text(BASE64_STD, bytes_of(large, TOKEN_SECRET_BYTES + 1));
	char *json = mem_printf("{\"a\":\"a\",\"s\":\"%s\"}", raw);
	assert_int_equal(decode_token(json, &t, &err), E_LIMIT);
	assert_string_equal(err.text, "tunnel token: \"s\" is longer than 256 bytes");
	mem_free(raw);
	mem_free(json);
}

static void a_full_buffer_gets_nothing(void **state)
{
	struct token t;

	assert_int_equal(decode_token("{\"a\":\"acc\",\"s\":\"" SECRET "\",\"t\":\"" TUNNEL
				      "\"," PLACE "}",
				      &t, NULL),
			 0);
	for (size_t max = 1; max < 300; max += 13) {
		struct buf out;

		buf_init(&out, max);
		assert_int_equal(buf_append_str(&out, "x"), 0);
		assert_int_equal(token_encode(&out, &t), E_LIMIT);
		assert_int_equal(token_encode_credentials(&out, &t), E_LIMIT);
		assert_text(buf_bytes(&out), "x");
		buf_done(&out);
	}
	token_done(&t);
}

/* --- Credentials file ------------------------------------------------------------------------ */

static void credentials_read_and_write_back(void **state)
{
	static const char *const texts[] = {
		/* What stock writes today. */
		"{\"AccountTag\":\"acc\",\"TunnelSecret\":\"" SECRET "\",\"TunnelID\":\"" TUNNEL
		"\",\"Endpoint\":\"\"}",
		"{\"AccountTag\":\"acc\",\"TunnelSecret\":\"" SECRET "\",\"TunnelID\":\"" TUNNEL
		"\",\"Endpoint\":\"fed\"," PLACE_FILE "}",
		/* An old file. */
		"{\"AccountTag\":\"acc\",\"TunnelSecret\":\"" SECRET "\",\"Endpoint\":\"\"}",
	};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct token t;
		struct buf out;

		assert_int_equal(token_decode_credentials(bytes_str(texts[i]), &t, NULL), 0);
		assert_true(secret_eq(&t.secret, BYTES_LIT(SECRET_RAW)));
		assert_int_equal(t.has_tunnel, i < 2);
		if (i == 1)
			assert_place(&t.place);
		buf_init(&out, BYTES);
		assert_int_equal(token_encode_credentials(&out, &t), 0);
		assert_text(buf_bytes(&out), texts[i]);
		buf_done(&out);
		token_done(&t);
	}
}

static void credentials_member_names_ignore_case(void **state)
{
	struct token t;
	struct err err;

	assert_int_equal(token_decode_credentials(
				 BYTES_LIT("\n{ \"accounttag\": \"acc\", \"TUNNELSECRET\": \"" SECRET
					   "\", \"tunnelId\": \"" TUNNEL
					   "\", \"apiUrl\": \"http://x\", \"other\": {} }\n"),
				 &t, NULL),
			 0);
	assert_true(t.has_tunnel);
	assert_string_equal(t.place.api_url, "http://x");
	token_done(&t);
	assert_int_equal(token_decode_credentials(BYTES_LIT("{\"AccountTag\":\"a\"}"), &t, &err),
			 E_PARSE);
	assert_string_equal(err.text, "tunnel credentials: \"TunnelSecret\" is missing");
}

static void a_place_copies_deeply(void **state)
{
	struct token t;
	struct token_place copy;

	assert_int_equal(decode_token("{\"a\":\"acc\",\"s\":\"" SECRET "\",\"t\":\"" TUNNEL
				      "\"," PLACE "}",
				      &t, NULL),
			 0);
	token_place_copy(&copy, &t.place);
	token_done(&t);
	assert_place(&copy);
	token_place_done(&copy);
	token_place_copy(&copy, &(struct token_place){ 0 });
	assert_null(copy.edges);
	token_place_done(&copy);
}

/* --- Login certificate ----------------------------------------------------------------------- */

#define LOGIN "{\"zoneID\":\"zone\",\"accountID\":\"acc\",\"apiToken\":\"secret\""

static void a_login_reads_and_writes_back(void **state)
{
	struct login l;
	struct buf out;

	assert_int_equal(decode_login(LOGIN ",\"endpoint\":\"FED\"," PLACE "}", &l, NULL), 0);
	assert_string_equal(l.zone, "zone");
	assert_string_equal(l.account, "acc");
	assert_true(secret_eq(&l.api_token, BYTES_LIT("secret")));
	assert_string_equal(l.endpoint, "fed");
	assert_place(&l.place);
	buf_init(&out, BYTES);
	assert_int_equal(login_encode(&out, &l), 0);
	login_done(&l);
	assert_int_equal(login_decode(buf_bytes(&out), &l, NULL), 0);
	assert_string_equal(l.zone, "zone");
	assert_true(secret_eq(&l.api_token, BYTES_LIT("secret")));
	assert_place(&l.place);
	login_done(&l);
	buf_done(&out);
}

static void a_login_is_written_as_stock_writes_it(void **state)
{
	struct login l;
	struct buf out;

	assert_int_equal(decode_login(LOGIN "}", &l, NULL), 0);
	buf_init(&out, BYTES);
	assert_int_equal(login_encode(&out, &l), 0);
	assert_text(buf_bytes(&out),
		    "-----BEGIN ARGO TUNNEL TOKEN-----\n"
		    "eyJ6b25lSUQiOiJ6b25lIiwiYWNjb3VudElEIjoiYWNjIiwiYXBpVG9rZW4iOiJz\n"
		    "ZWNyZXQifQ==\n"
		    "-----END ARGO TUNNEL TOKEN-----\n");
	buf_done(&out);
	login_done(&l);
}

#define TOKEN_BLOCK                                                            \
	"-----BEGIN ARGO TUNNEL TOKEN-----\r\n"                                \
	"eyJ6b25lSUQiOiJ6b25lIiwiYWNjb3VudElEIjoiYWNjIiwiYXBpVG9rZW4iOiJz\r\n" \
	"ZWNyZXQifQ==\r\n-----END ARGO TUNNEL TOKEN-----\r\n"

static void historic_blocks_are_skipped(void **state)
{
	struct login l;

	assert_int_equal(
		login_decode(
			BYTES_LIT("some text\n-----BEGIN PRIVATE KEY-----\nProc-Type: 4\n\nAAAA\n"
				  "-----END PRIVATE KEY-----\n-----BEGIN CERTIFICATE-----\n!!\n"
				  "-----END CERTIFICATE-----\n" TOKEN_BLOCK "trailing text"),
			&l, NULL),
		0);
	assert_string_equal(l.zone, "zone");
	login_done(&l);
}

static void an_old_login_has_no_account(void **state)
{
	struct login l;

	assert_int_equal(decode_login("{\"zoneID\":\"zone\",\"apiToken\":\"secret\"}", &l, NULL), 0);
	assert_string_equal(l.account, "");
	login_done(&l);
}

static void bad_logins_are_refused_in_words_of_stock(void **state)
{
	static const struct {
		const char *pem, *why;
	} cases[] = {
		{ "", "cannot decode empty certificate" },
		{ "no pem at all", "missing token in the certificate" },
		{ "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
		  "missing token in the certificate" },
		{ "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n",
		  "unknown block RSA PRIVATE KEY in the certificate" },
		{ TOKEN_BLOCK TOKEN_BLOCK, "found multiple tokens in the certificate" },
		{ "-----BEGIN ARGO TUNNEL TOKEN-----\ne30=\n-----END ARGO TUNNEL TOKEN-----\n",
		  "missing token in the certificate" },
		{ "-----BEGIN ARGO TUNNEL TOKEN-----\n!!!!\n-----END ARGO TUNNEL TOKEN-----\n",
		  "missing token in the certificate: not base64" },
		{ "-----BEGIN ARGO TUNNEL TOKEN-----\nAAAA\n-----END ARGO TUNNEL TOKEN-----\n",
		  "missing token in the certificate: not valid JSON near line 1, column 1" },
		{ "-----BEGIN ARGO TUNNEL TOKEN-----\ne30=\n",
		  "block ARGO TUNNEL TOKEN in the certificate does not end" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct login l;
		struct err err = { 0 };

		assert_true(login_decode(bytes_str(cases[i].pem), &l, &err) < 0);
		assert_string_equal(err.text, cases[i].why);
		assert_null(l.zone);
		assert_true(login_decode(bytes_str(cases[i].pem), &l, NULL) < 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_token_reads_and_writes_back),
		cmocka_unit_test(a_pasted_token_may_have_blanks_around_it),
		cmocka_unit_test(bad_tokens_are_refused_by_member),
		cmocka_unit_test(tokens_are_bounded),
		cmocka_unit_test(a_full_buffer_gets_nothing),
		cmocka_unit_test(credentials_read_and_write_back),
		cmocka_unit_test(credentials_member_names_ignore_case),
		cmocka_unit_test(a_place_copies_deeply),
		cmocka_unit_test(a_login_reads_and_writes_back),
		cmocka_unit_test(a_login_is_written_as_stock_writes_it),
		cmocka_unit_test(historic_blocks_are_skipped),
		cmocka_unit_test(an_old_login_has_no_account),
		cmocka_unit_test(bad_logins_are_refused_in_words_of_stock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
