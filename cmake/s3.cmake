# S3: the module, the stub server that its tests talk to, and the programs of those tests.
find_package(OpenSSL REQUIRED)
find_package(pugixml REQUIRED)
find_package(nlohmann_json REQUIRED)
pkg_check_modules(CURL REQUIRED IMPORTED_TARGET libcurl)
sheen_module(s3 DEPS sheen_async PkgConfig::CURL OpenSSL::Crypto pugixml::pugixml
                     nlohmann_json::nlohmann_json)

sheen_module(agent DEPS sheen_s3 sheen_rpc)

file(GLOB s3_stub_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/support/s3_stub/*.cc)
list(FILTER s3_stub_sources EXCLUDE REGEX "main\\.cc")
add_library(sheen_s3_stub STATIC ${s3_stub_sources})
target_include_directories(sheen_s3_stub PUBLIC ${CMAKE_SOURCE_DIR}/tests)
target_link_libraries(sheen_s3_stub PUBLIC sheen_base OpenSSL::Crypto nlohmann_json::nlohmann_json)

file(GLOB s3_tests CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/unit/s3/*_test.cc)

# The stub as a program, and the client as one: for scripts under tests/.
add_executable(s3_stub ${CMAKE_SOURCE_DIR}/tests/support/s3_stub/main.cc)
target_link_libraries(s3_stub PRIVATE sheen_s3_stub)
add_executable(s3_tool ${CMAKE_SOURCE_DIR}/tests/s3/s3_tool.cc)
target_include_directories(s3_tool PRIVATE ${CMAKE_SOURCE_DIR}/tests)
target_link_libraries(s3_tool PRIVATE sheen_s3)

file(GLOB s3_tests CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/unit/s3/*_test.cc)
add_executable(unit-s3 ${s3_tests})
target_include_directories(unit-s3 PRIVATE ${CMAKE_SOURCE_DIR}/tests)
target_link_libraries(unit-s3 PRIVATE sheen_s3 sheen_s3_stub GTest::gtest GTest::gtest_main)
add_test(NAME unit-s3 COMMAND unit-s3)

file(GLOB agent_tests CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/unit/agent/*_test.cc)
if(agent_tests)
  add_executable(unit-agent ${agent_tests})
  target_include_directories(unit-agent PRIVATE ${CMAKE_SOURCE_DIR}/tests)
  target_link_libraries(unit-agent PRIVATE sheen_agent sheen_s3_stub GTest::gtest GTest::gtest_main)
  add_test(NAME unit-agent COMMAND unit-agent)
endif()
