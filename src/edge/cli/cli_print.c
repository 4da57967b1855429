#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "edge/cli/command.h"

void cli_print_json(const json_t *value)
{
	const size_t flags = JSON_INDENT(2) | JSON_ENCODE_ANY;
	size_t size = json_dumpb(value, NULL, 0, flags);
	char *text = mem_alloc(size + 1);

	size = json_dumpb(value, text, size, flags);
	(void)fwrite(text, 1, size, stdout);
	(void)fputc('\n', stdout);
	mem_free(text);
}

void cli_print_table(const char *const *cells, size_t rows, size_t columns)
{
	for (size_t row = 0; row < rows; row++) {
		for (size_t column = 0; column < columns; column++) {
			const char *cell = cells[row * columns + column];
			size_t width = 0;

			if (column + 1 == columns) {
				printf("%s\n", cell);
				break;
			}
			for (size_t i = 0; i < rows; i++) {
				size_t len = strlen(cells[i * columns + column]);
				width = len > width ? len : width;
			}
			printf("%-*s  ", (int)width, cell);
		}
	}
}
