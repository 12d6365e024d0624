# What beside the programs is installed. For a system: -DCMAKE_INSTALL_PREFIX=/usr, so that mount(8)
# finds /sbin/mount.sheen; configuration examples go to share/doc, never over /etc/sheen.
install(FILES ${CMAKE_SOURCE_DIR}/deploy/systemd/sheen-mds@.service
              ${CMAKE_SOURCE_DIR}/deploy/systemd/sheen-oss@.service
              ${CMAKE_SOURCE_DIR}/deploy/systemd/sheen.target
              ${CMAKE_SOURCE_DIR}/deploy/systemd/sheen-agent.service
        DESTINATION lib/systemd/system)
install(FILES ${CMAKE_SOURCE_DIR}/deploy/sysusers.d/sheen.conf DESTINATION lib/sysusers.d)
install(FILES ${CMAKE_SOURCE_DIR}/deploy/tmpfiles.d/sheen.conf DESTINATION lib/tmpfiles.d)
install(FILES ${CMAKE_SOURCE_DIR}/deploy/modprobe.d/sheen.conf DESTINATION lib/modprobe.d)
install(FILES ${CMAKE_SOURCE_DIR}/deploy/etc/mds.toml
              ${CMAKE_SOURCE_DIR}/deploy/etc/oss.toml
              ${CMAKE_SOURCE_DIR}/deploy/etc/client.toml
              ${CMAKE_SOURCE_DIR}/deploy/logrotate.d/sheen
              ${CMAKE_SOURCE_DIR}/deploy/etc/agent.toml
        DESTINATION share/doc/sheen/examples)
foreach(section 1 3 5 8)
  file(GLOB pages CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/docs/man/*.${section})
  install(FILES ${pages} DESTINATION share/man/man${section})
endforeach()
# bash-completion looks for a file of the command's name: one for each, all reading the first.
install(FILES ${CMAKE_SOURCE_DIR}/deploy/completion/sheen DESTINATION share/bash-completion/completions)
foreach(command sheen-mds sheen-oss sheen-agent sheen-client sheen-bench lfs lctl)
  if(TARGET ${command})
    install(CODE "file(CREATE_LINK sheen \$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/share/bash-completion/completions/${command} SYMBOLIC)")
  endif()
endforeach()
