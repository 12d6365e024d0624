# One unit test program a module, so that working on one relinks one: build/bin/unit-NAME.
foreach(module base async fid layout lock io kv rpc ost mdt mds oss client fuse)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/unit/${module}/*_test.cc)
  if(sources)
    add_executable(unit-${module} ${sources})
    target_include_directories(unit-${module} PRIVATE ${CMAKE_SOURCE_DIR}/tests)
    target_link_libraries(unit-${module} PRIVATE sheen_${module} GTest::gtest GTest::gtest_main)
    add_test(NAME unit-${module} COMMAND unit-${module})
  endif()
endforeach()

file(GLOB sim_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/sim/*.cc)
if(sim_sources)
  add_executable(sim ${sim_sources} ${CMAKE_SOURCE_DIR}/tests/support/sim_agents.cc
                 ${CMAKE_SOURCE_DIR}/tests/support/sim_cluster.cc
                 ${CMAKE_SOURCE_DIR}/tests/support/sim_cluster_checks.cc
                 ${CMAKE_SOURCE_DIR}/tests/support/sim_cluster_faults.cc
                 ${CMAKE_SOURCE_DIR}/tests/support/fake_kernel.cc)
  target_include_directories(sim PRIVATE ${CMAKE_SOURCE_DIR}/tests)
  target_link_libraries(sim PRIVATE sheen_mds sheen_oss sheen_client GTest::gtest GTest::gtest_main)
  add_test(NAME sim COMMAND sim)
endif()

add_executable(make_corpus EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/tests/fuzz/make_corpus.cc)
target_include_directories(make_corpus PRIVATE ${CMAKE_SOURCE_DIR}/tests)
target_link_libraries(make_corpus PRIVATE sheen_rpc sheen_layout)

# Random operations and bytes on mounted filesystems: run by tests/integration/posix.sh.
foreach(name random bytes)
  add_executable(posix-${name} ${CMAKE_SOURCE_DIR}/tests/posix/${name}.cc)
  target_include_directories(posix-${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests)
endforeach()
