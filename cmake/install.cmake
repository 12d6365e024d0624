# What beside the programs is installed. For a system: -DCMAKE_INSTALL_PREFIX=/usr, so that mount(8)
# finds /sbin/mount.sheen; configuration examples go to share/doc, never over /etc/sheen.
install(FILES ${CMAKE_SOURCE_DIR}/deploy/systemd/sheen-mds@.service
              ${CMAKE_SOURCE_DIR}/deploy/systemd/sheen-oss@.service
              ${CMAKE_SOURCE_DIR}/deploy/systemd/sheen-agent.service
        DESTINATION lib/systemd/system)
install(FILES ${CMAKE_SOURCE_DIR}/deploy/sysusers.d/sheen.conf DESTINATION lib/sysusers.d)
install(FILES ${CMAKE_SOURCE_DIR}/deploy/modprobe.d/sheen.conf DESTINATION lib/modprobe.d)
install(FILES ${CMAKE_SOURCE_DIR}/deploy/etc/mds.toml
              ${CMAKE_SOURCE_DIR}/deploy/etc/oss.toml
              ${CMAKE_SOURCE_DIR}/deploy/etc/client.toml
              ${CMAKE_SOURCE_DIR}/deploy/etc/agent.toml
        DESTINATION share/doc/sheen/examples)
