# Flags of every target. Instruction sets are never set here: each kernel file names its own
# (kernels/CMakeLists.txt), so that a binary runs on the weakest CPU of its architecture.
#
# Same bits everywhere (docs/ARCHITECTURE.md): no contraction of a*b+c behind our back, no fast-math.
add_library(dgq_flags INTERFACE)
target_compile_features(dgq_flags INTERFACE cxx_std_20)
target_compile_options(dgq_flags INTERFACE -ffp-contract=off $<BUILD_INTERFACE:-Wall;-Wextra;-Werror>)
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(dgq_flags INTERFACE $<BUILD_INTERFACE:-Wno-restrict>)  # false alarms on std::string (GCC bug 105651)
endif()
target_include_directories(dgq_flags INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/dgq>)

if(DGQ_SANITIZE)
  add_compile_options(-fsanitize=${DGQ_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${DGQ_SANITIZE})
  add_compile_definitions(DGQ_SANITIZED)  # compilers differ in what they say of it
  if(DGQ_SANITIZE MATCHES undefined)
    add_compile_options(-fno-sanitize-recover=undefined)
  endif()
endif()

# dgq_library(NAME SOURCES... ) : one static library per folder, dgq_<folder>, exported as dgq::<folder>.
function(dgq_library name)
  add_library(dgq_${name} STATIC ${ARGN})
  add_library(dgq::${name} ALIAS dgq_${name})
  set_target_properties(dgq_${name} PROPERTIES EXPORT_NAME ${name})
  target_link_libraries(dgq_${name} PUBLIC dgq_flags)
endfunction()
