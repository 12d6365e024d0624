// The long usage texts of lfs, in the form of Command::usage.
#pragma once

namespace sheen::lfs {

inline constexpr char kFindUsage[] = R"(DIRECTORY|FILENAME ... [[!] TEST] ...
        tests (each may be negated by ! in front; N: equal, +N: more, -N: less):
          --name|-n GLOB  --type|-t bcdflps  --size|-s [+-]N[bckMGTPE]  --links [+-]N
          --atime|-A, --mtime|-M, --ctime|-C [+-]N[smhdwy]  --newer[XY] FILE  --perm [-/]MODE
            (X, Y: a, c, m; Y t: a time in place of FILE, as '2024-05-01 10:00:00' or @SECONDS)
          --user|-u, --uid|-U, --group|-g, --gid|-G NAME|ID  --mdt|-m INDEXES
          --stripe-count|-c [+-]N  --stripe-size|-S [+-]N[kMG]  --stripe-index|-i INDEXES
          --ost|-O INDEXES  --layout|-L raid0|mdt|released|overstriped  --pool POOL
          --component-count [+-]N  --component-start, --component-end|-E [+-]N[kMG]|eof
          --component-flags [^]FLAG,... (init, prefer, prefrd, prefwr)
        how far: --maxdepth|-D N  --mindepth|-d N
        what is printed: --print  --print0|-P  --ls  --printf FORMAT, in which %Lc, %LS, %Li, %Lo,
          %Lp, %LF are stripe count, size, first OST, OSTs, pool and FID
)";

inline constexpr char kChangelogUsage[] =
    R"([--follow|-f] [--user|-u USER] [--mask|-m TYPES] [--json] MDTNAME|MOUNT_POINT [START [END]]
        prints the changelog of an MDT (sheen-MDT0000) from record START to END
        --follow: waits for new records   --user: what USER (cl1) has not cleared yet
        --mask: only these types, as CREAT,UNLNK   --json: one object a line
)";

inline constexpr char kSetstripeUsage[] =
    R"([--stripe-count|-c STRIPE_COUNT] [--stripe-size|-S STRIPE_SIZE]
          [--overstripe-count|-C STRIPE_COUNT]
          [--stripe-index|-i START_OST_IDX] [--ost|-o OST_INDICES] [--pool|-p POOL]
          [[--component-end|-E COMP_END] [STRIPE_OPTIONS]] ... DIRECTORY|FILENAME ...
       setstripe --copy FILE DIRECTORY|FILENAME ...   (the layout of another file)
       setstripe --yaml FILE DIRECTORY|FILENAME ...   (what getstripe --yaml printed)
       setstripe --component-add -E COMP_END [STRIPE_OPTIONS] ... FILENAME ...
       setstripe --component-del -I COMP_ID | --component-flags=^init FILENAME ...
       setstripe --component-set -I COMP_ID --component-flags=[^]FLAG,... FILENAME ...
       setstripe -d DIRECTORY ...   (remove the directory's default layout)
        stripe_count: number of OSTs to stripe over (0=default, -1=all available)
        stripe_size:  bytes on each OST before moving to the next, a multiple of 64 KiB
                      (k, m, g: KiB, MiB, GiB)
        start_ost_idx: OST index of the first stripe (-1=let the MDS choose)
        ost_indices:  OSTs in order, as 0,2-4
        pool:         OSTs are chosen from it, as flash or sheen.flash (lfs pool_list);
                      none, inherit: the directory's; ignore: no pool
        comp_end:     where this component ends (-1 or eof: end of file); options after it
                      apply to it
)";

inline constexpr char kMigrateUsage[] =
    R"([--block|-b] [--non-block|-n] [--bandwidth-limit|-W MIB_PER_SECOND]
          [--stats] [--stats-interval SECONDS] [--verbose|-v] [SETSTRIPE_OPTIONS]
          [--auto-stripe|-A [--cap|-K N] [--min-free|-M SIZE]]
          [[--null|-0] --files-from LIST] FILENAME ...
       migrate ... --fid --lustre-dir MOUNT_POINT FID ...   (root only)
        moves the bytes of files to other objects, while they are read and written; without
        SETSTRIPE_OPTIONS (as of setstripe, --copy and --yaml too) with the layout that they have
        auto-stripe: stripe count by the file's size, 1 + sqrt(GiB), and more until an object
                   takes at most 1/N (100) of the free space of the fullest OST; OSTs with less
                   than SIZE (256M) free do not count
        block:     whoever writes meanwhile waits for the last step (the default)
        non-block: a file that is written meanwhile is left as it was (EBUSY)
)";

}  // namespace sheen::lfs
