/* In the MemorySanitizer build, of tests that call libraries: those were not compiled for it, so what they hand to libc
 * from their own stacks is not judged. What our code branches on is, and that is what it is for.
 */
#include <sanitizer/msan_interface.h>

__attribute__((constructor)) static void trust_libraries(void)
{
	__msan_scoped_disable_interceptor_checks();
}
