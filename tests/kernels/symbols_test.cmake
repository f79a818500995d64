# The only code that an object of kernels/x86 or kernels/arm exports are its kernels (dgq::<op>_..._<isa>, for CPUs with kHwStreams <isa>_streams): an
# inline function of a header that it emitted would be compiled with its instruction set, and the linker could
# keep that copy for all callers.
foreach(object IN LISTS OBJECTS)
  if(object MATCHES "/(x86|arm)/[a-z0-9_]+_(avx2|avxvnni|avx512vnni|amx_int8|neon_i8mm|neon_dot|neon)\\.cpp\\.o$")
    set(isa ${CMAKE_MATCH_2})
    execute_process(COMMAND ${NM} --demangle --extern-only --defined-only ${object}
                    OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
    string(REGEX MATCHALL "[0-9a-f]+ [TWi] [^\n]*" code "${symbols}")  # strong, weak and indirect functions
    set(strange ${code})
    list(FILTER strange EXCLUDE REGEX " T dgq::[a-z0-9_]+_${isa}(_streams)?\\([^\n]*$")
    if(strange OR NOT symbols)
      message(SEND_ERROR "${object} exports other code than its kernels: ${strange}")
    endif()
    list(LENGTH code count)
    message(STATUS "${object}: ${count}")
    set(seen TRUE)
  endif()
endforeach()
if(NOT seen)
  message(SEND_ERROR "no kernel objects among: ${OBJECTS}")
endif()
