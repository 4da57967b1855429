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
	time_t seconds = (time_t)(wall / USEC_PER_SEC);
	struct tm tm;

	gmtime_r(&seconds, &tm);
	size_t n = strftime(buf, size, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(buf + n, size - n, ".%06dZ", (int)(wall % USEC_PER_SEC));
	return buf;
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
		for (at++; *at >= '0' && *at <= '9'; at++) {
			fraction += (*at - '0') * scale;
			scale /= 10;
		}
	}
	if (*at == '+' || *at == '-') {
		int hours, minutes;
		if (sscanf(at + 1, "%2d:%2d", &hours, &minutes) != 2)
			return -1;
		offset_seconds = (*at == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
	} else if (*at != 'Z' && *at != 'z') {
		return -1;
	}
	return ((usec)timegm(&tm) - offset_seconds) * USEC_PER_SEC + fraction;
}
