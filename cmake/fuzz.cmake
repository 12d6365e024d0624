# libFuzzer targets; part of the address sanitizer's build.
foreach(name frame mds oss)
  add_executable(fuzz-${name} ${CMAKE_SOURCE_DIR}/tests/fuzz/${name}_fuzz.cc)
  target_include_directories(fuzz-${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests)
  target_link_options(fuzz-${name} PRIVATE -fsanitize=fuzzer)
endforeach()
target_link_libraries(fuzz-frame PRIVATE sheen_rpc)
target_link_libraries(fuzz-mds PRIVATE sheen_mds)
target_link_libraries(fuzz-oss PRIVATE sheen_oss)
