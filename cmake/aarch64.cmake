# Cross build for 64-bit Arm on Debian: g++-aarch64-linux-gnu and the :arm64 -dev packages.
# Tests run under qemu-user; DGQ_QEMU_CPU picks the emulated core (cortex-a72: no SDOT,
# cortex-a76: SDOT, max: i8mm).
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(DGQ_QEMU_CPU max CACHE STRING "CPU that qemu-aarch64 emulates in tests")
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64-static -cpu ${DGQ_QEMU_CPU})
set(ENV{PKG_CONFIG_LIBDIR} /usr/lib/aarch64-linux-gnu/pkgconfig:/usr/share/pkgconfig)
set(CMAKE_FIND_ROOT_PATH /usr/aarch64-linux-gnu /)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
