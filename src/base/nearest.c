#include "base/nearest.h"

#include "base/bytes.h"

#define LONGEST 32

/* Levenshtein's distance, one row; words are short. */
static int distance(const char *a, const char *b)
{
	size_t a_len = strlen(a), b_len = strlen(b);
	int row[LONGEST + 1];

	if (a_len > LONGEST || b_len > LONGEST)
		return LONGEST + 1;
	for (size_t j = 0; j <= b_len; j++)
		row[j] = (int)j;
	for (size_t i = 1; i <= a_len; i++) {
		uint8_t letter = bytes_lower((uint8_t)a[i - 1]);
		int diagonal = row[0];

		row[0] = (int)i;
		for (size_t j = 1; j <= b_len; j++) {
			int best = diagonal + (letter != bytes_lower((uint8_t)b[j - 1]));

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[b_len];
}

const char *nearest_name(const char *word, const char *const *names, size_t count)
{
	const char *best = NULL;
	int best_distance = strlen(word) <= 3 ? 2 : 4;

	for (size_t i = 0; i < count; i++) {
		int d = distance(word, names[i]);

		if (d < best_distance && d < (int)strlen(names[i])) {
			best = names[i];
			best_distance = d;
		}
	}
	return best;
}
