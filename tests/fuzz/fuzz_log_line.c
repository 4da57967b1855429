/* Any bytes as the message and the values of a line: it must be one line of JSON (or of text without control
 * bytes), bounded. Masking finds what follows a name that is known, whatever stands around it. */
#include <jansson.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/log_internal.h"
#include "base/mem.h"
#include "base/redact.h"

static void check_line(const struct log_line *line, enum log_format format)
{
	BUG_IF(line->len == 0 || line->len > LOG_LINE_BYTES || line->text[line->len - 1] != '\n');
	for (size_t i = 0; i + 1 < line->len; i++)
		BUG_IF((uint8_t)line->text[i] < 0x20 || line->text[i] == 0x7f);
	if (format != LOG_JSON)
		return;
	json_t *object = json_loadb(line->text, line->len, JSON_ALLOW_NUL, NULL);
	BUG_IF(!json_is_object(object));
	json_decref(object);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static _Alignas(8) uint8_t record[LOG_RECORD_BYTES];
	static char masked[64];
	static struct log_line line;
	struct bytes rest = bytes_of(data, size), part[4] = { { 0 } };

	for (size_t i = 0; i < ARRAY_LEN(part); i++)
		(void)bytes_split(&rest, '\n', &part[i]);
	const struct log_field fields[] = { LOG_BYTES("a", part[1]),
					    LOG_INT("n",
						    size ? (int64_t)((uint64_t)data[0] << 56) : -1),
					    LOG_BYTES("b", part[2]),
					    LOG_MSEC("t", (int64_t)size * -77),
					    LOG_BYTES("c", bytes_of(data, size)),
					    LOG_BYTES("d", part[3]),
					    LOG_BOOL("e", size & 1),
					    { 0 } };
	for (int kind = LOG_EVENT; kind <= LOG_ACCESS; kind++) {
		const struct log_record head = { .level = LOG_INFO,
						 .kind = (uint8_t)kind,
						 .wall = 1,
						 .component = "fuzz" };
		(void)log_record_pack(record, &head, part[0], fields);
		for (int format = LOG_CONSOLE; format <= LOG_JSON; format++) {
			log_format_record(&line, (const struct log_record *)(const void *)record,
					  (enum log_format)format, false);
			check_line(&line, (enum log_format)format);
		}
	}

	struct bytes shown = redact_text(bytes_of(data, size), masked, sizeof(masked));
	BUG_IF(shown.ptr == (uint8_t *)masked ? shown.len > sizeof(masked) : shown.ptr != data);
	char *with = mem_printf(BYTES_FMT "&token=s3cret", BYTES_ARG(part[1]));
	shown = redact_text(bytes_str(with), line.text, sizeof(line.text));
	BUG_IF(bytes_ends_with(shown, BYTES_LIT("s3cret")));
	mem_free(with);
	struct bytes url = redact_url(bytes_of(data, size));
	BUG_IF(bytes_index(url, '?') != url.len || bytes_index(url, '#') != url.len);
	return 0;
}
