# cmake -DSOURCE=FOLDER -DHEADER=FILE -P commit.cmake: writes the commit that is checked out, when it is another than last time.
execute_process(COMMAND git -C ${SOURCE} describe --always --dirty --abbrev=12 --exclude=*
                OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed)
  set(commit "")
endif()
set(text "// Made by cmake/commit.cmake.\nnamespace dgq::bench {\ninline constexpr const char* kCommit = \"${commit}\";\n}  // namespace dgq::bench\n")
set(before "")
if(EXISTS ${HEADER})
  file(READ ${HEADER} before)
endif()
if(NOT before STREQUAL text)
  file(WRITE ${HEADER} "${text}")
endif()
