#include "base/nearest.h"

#include "base/bytes.h"

#define LONGEST 32

static bool alike(char a, char b)
{
	return bytes_lower((uint8_t)a) == bytes_lower((uint8_t)b);
}

static int least(int a, int b)
{
	return a < b ? a : b;
}

/* Letters changed, added, dropped, or swapped with their neighbour (optimal string alignment). */
static int distance(const char *a, const char *b)
{
	size_t a_len = strlen(a), b_len = strlen(b);
	int rows[3][LONGEST + 1];
	int *before = rows[0], *above = rows[1], *row = rows[2];

	if (a_len > LONGEST || b_len > LONGEST)
		return LONGEST + 1;
	for (size_t j = 0; j <= b_len; j++)
		row[j] = (int)j;
	for (size_t i = 1; i <= a_len; i++) {
		int *oldest = before;
		before = above;
		above = row;
		row = oldest;
		row[0] = (int)i;
		for (size_t j = 1; j <= b_len; j++) {
			bool is_same = alike(a[i - 1], b[j - 1]);
			row[j] = least(above[j - 1] + !is_same, least(above[j], row[j - 1]) + 1);
			if (i > 1 && j > 1 && alike(a[i - 1], b[j - 2]) && alike(a[i - 2], b[j - 1]))
				row[j] = least(row[j], before[j - 2] + 1);
		}
	}
	return row[b_len];
}

const char *nearest_name(const char *word, const char *const *names, size_t count)
{
	const char *best = NULL;
	size_t len = strlen(word);
	int best_distance = len <= 4 ? 2 : len <= 6 ? 3 : 4;

	for (size_t i = 0; i < count; i++) {
		int d = distance(word, names[i]);

		if (d < best_distance && d < (int)strlen(names[i])) {
			best = names[i];
			best_distance = d;
		}
	}
	return best;
}
