#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static usec read_clock(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (usec)ts.tv_sec * USEC_PER_SEC + ts.tv_nsec / 1000;
}

usec clock_now(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

usec clock_wall_now(void)
{
	return read_clock(CLOCK_REALTIME);
}

char *clock_rfc3339(usec wall, char *buf, unsigned size)
{
	usec fraction = wall % USEC_PER_SEC;
	struct tm tm;

	if (fraction < 0)
		fraction += USEC_PER_SEC; /* before 1970: rounded down, not towards it */
	time_t seconds = (time_t)((wall - fraction) / USEC_PER_SEC);

	gmtime_r(&seconds, &tm);
	size_t n = strftime(buf, size, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(buf + n, size - n, ".%06dZ", (int)fraction);
	return buf;
}

/* Two digits at *at, which then moves past them; -1 when there are none. */
static int take_two_digits(const char **at)
{
	const char *p = *at;

	if (p[0] < '0' || p[0] > '9' || p[1] < '0' || p[1] > '9')
		return -1;
	*at += 2;
	return (p[0] - '0') * 10 + p[1] - '0';
}

usec clock_parse_rfc3339(const char *text)
{
	struct tm tm = { 0 };
	const char *at = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	usec fraction = 0, scale = USEC_PER_SEC / 10;
	int offset_seconds = 0;

	if (!at)
		return -1;
	if (*at == '.') {
		if (at[1] < '0' || at[1] > '9')
			return -1;
		for (at++; *at >= '0' && *at <= '9'; at++) {
			fraction += (*at - '0') * scale;
			scale /= 10;
		}
	}
	char zone = *at++;
	if (zone == '+' || zone == '-') {
		int hours = take_two_digits(&at);
		if (hours < 0 || *at++ != ':')
			return -1;
		int minutes = take_two_digits(&at);
		if (minutes < 0)
			return -1;
		offset_seconds = (zone == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
	} else if (zone != 'Z' && zone != 'z') {
		return -1;
	}
	if (*at)
		return -1;
	return ((usec)timegm(&tm) - offset_seconds) * USEC_PER_SEC + fraction;
}
