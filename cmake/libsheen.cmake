# libsheen: the client as a library, one archive of all that it needs, with its headers, a man page
# and a file for pkg-config. Static: its size is the client's, and there is no ABI to keep yet.
set(SHEEN_LIBRARY_PARTS apps_libsheen apps_common client rpc lock layout fid io async base proto)
set(LIBSHEEN ${CMAKE_BINARY_DIR}/lib/libsheen.a)
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
set(script "create ${LIBSHEEN}\n")
set(parts "")
foreach(part ${SHEEN_LIBRARY_PARTS})
  string(APPEND script "addlib $<TARGET_FILE:sheen_${part}>\n")
  list(APPEND parts sheen_${part})
endforeach()
file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/lib/libsheen.mri CONTENT "${script}save\nend\n")
add_custom_command(
  OUTPUT ${LIBSHEEN}
  COMMAND ${CMAKE_COMMAND} -E rm -f ${LIBSHEEN}
  COMMAND ${CMAKE_AR} -M < ${CMAKE_BINARY_DIR}/lib/libsheen.mri
  DEPENDS ${parts} ${CMAKE_BINARY_DIR}/lib/libsheen.mri)
add_custom_target(libsheen ALL DEPENDS ${LIBSHEEN})
configure_file(${CMAKE_SOURCE_DIR}/cmake/sheen.pc.in ${CMAKE_BINARY_DIR}/lib/sheen.pc @ONLY)
install(FILES ${LIBSHEEN} DESTINATION lib)
install(FILES ${CMAKE_BINARY_DIR}/lib/sheen.pc DESTINATION lib/pkgconfig)
install(FILES ${CMAKE_SOURCE_DIR}/include/sheen/client.h ${CMAKE_SOURCE_DIR}/include/sheen/sheen.h
              ${CMAKE_SOURCE_DIR}/include/sheen/result.h
        DESTINATION include/sheen)
install(FILES ${CMAKE_SOURCE_DIR}/examples/libsheen.c ${CMAKE_SOURCE_DIR}/examples/libsheen.cc
        DESTINATION share/doc/sheen/examples)
