# cmake --install: the dgq command, the static libraries with their CMake package, and the headers under
# include/dgq. A host says find_package(dgq) and links dgq::runtime. --component agent: what a device needs, the command and the
# service, for which the target dgq is enough.
include(CMakePackageConfigHelpers)
install(TARGETS dgq RUNTIME COMPONENT agent)
install(TARGETS dgq_c EXPORT dgq LIBRARY PUBLIC_HEADER DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
file(RELATIVE_PATH dgq_up /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)  # so that the prefix can be moved
configure_file(cmake/dgq.pc.in ${PROJECT_BINARY_DIR}/dgq.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/dgq.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(TARGETS dgq_flags dgq_base dgq_kernels dgq_registry dgq_report dgq_runtime dgq_quantizer dgq_agent EXPORT dgq ARCHIVE)
foreach(folder base kernels registry report runtime quantizer agent)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/${folder} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/dgq
          FILES_MATCHING PATTERN "*.h" PATTERN "*_loops.h" EXCLUDE PATTERN "*_tile.h" EXCLUDE
          PATTERN "ref" EXCLUDE PATTERN "x86" EXCLUDE PATTERN "arm" EXCLUDE)
endforeach()
install(EXPORT dgq NAMESPACE dgq:: FILE dgq-targets.cmake DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/dgq)
configure_package_config_file(cmake/dgq-config.cmake.in ${PROJECT_BINARY_DIR}/dgq-config.cmake
                              INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/dgq)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/dgq-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/dgq-config.cmake ${PROJECT_BINARY_DIR}/dgq-config-version.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/dgq)

# The agent as a service (docs/AGENT.md). systemd looks below /usr/local as well.
if(CMAKE_SYSTEM_NAME STREQUAL Linux)
  configure_file(packaging/systemd/dgq-agent.service.in ${PROJECT_BINARY_DIR}/dgq-agent.service @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/dgq-agent.service packaging/systemd/dgq-agent.socket DESTINATION lib/systemd/system
          COMPONENT agent)
  install(FILES packaging/systemd/dgq.sysusers DESTINATION lib/sysusers.d RENAME dgq.conf COMPONENT agent)
endif()
