/* Word to the service manager that started us (systemd's sd_notify(3) protocol). */
#pragma once

/* "READY=1", "STOPPING=1", … Does nothing without $NOTIFY_SOCKET; failure is not ours to report. */
void notify_service_manager(const char *state);
