/*
 * Preloaded into troupe: a host whose KVM lacks what KVM_ABSENCE names. no-device, no-permission: /dev/kvm cannot be opened;
 * old-kernel: another interface version; no-capability: no split irqchip; busy: no virtual machine can be made; no-addon: the
 * native addon does not load.
 */
#define _GNU_SOURCE
#undef _FORTIFY_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static int lacks(const char *what)
{
    const char *absence = getenv("KVM_ABSENCE");
    return absence && strcmp(absence, what) == 0;
}

static int refuses(const char *path)
{
    if (strcmp(path, "/dev/kvm") != 0)
        return 0;
    errno = lacks("no-device") ? ENOENT : lacks("no-permission") ? EACCES : 0;
    return errno != 0;
}

#define OPEN(name)                                                       \
    int name(const char *path, int flags, ...)                           \
    {                                                                    \
        static int (*real)(const char *, int, ...);                      \
        va_list arguments;                                               \
        va_start(arguments, flags);                                      \
        unsigned mode = va_arg(arguments, unsigned);                     \
        va_end(arguments);                                               \
        if (!real)                                                       \
            real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, #name); \
        return refuses(path) ? -1 : real(path, flags, mode);             \
    }
OPEN(open)
OPEN(open64)
OPEN(__open_2)
OPEN(__open64_2)

int ioctl(int fd, unsigned long request, ...)
{
    static int (*real)(int, unsigned long, void *);
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    if (request == KVM_GET_API_VERSION && lacks("old-kernel"))
        return 11;
    if (request == KVM_CHECK_EXTENSION && (unsigned long)argument == KVM_CAP_SPLIT_IRQCHIP && lacks("no-capability"))
        return 0;
    if (request == KVM_CREATE_VM && lacks("busy"))
        return errno = EBUSY, -1;
    if (!real)
        real = (int (*)(int, unsigned long, void *))dlsym(RTLD_NEXT, "ioctl");
    return real(fd, request, argument);
}

void *dlopen(const char *path, int flags)
{
    static void *(*real)(const char *, int);
    if (!real)
        real = (void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen");
    if (path && strstr(path, "troupe-native.node") && lacks("no-addon"))
        path = "/nonexistent/troupe-native.node";
    return real(path, flags);
}
