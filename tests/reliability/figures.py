"""What was measured, in words: kept here by hand, since no test can tell what it will be on another machine."""

FIGURES = """## Figures

On two cores, where nothing else is said at a load of 8 to 15.

| what | came to |
| --- | --- |
| simulation | 10 000 seeds in 156 s beside other work: none contradicts a promise |
| chaos, ten minutes | four seeds, 551 accepted, 551 completed; lost, paid twice, below zero: 0 |
| fuzz, 33 minutes | 10 seeds over 8 descriptions, 447 checks each: nothing found |
| the three runs before, of 15 minutes | one thing each, mended (a NUL, a wrong type, an empty date); seeds kept |
| the same by hand | 46 000 requests with what no parameter, header or field should be: no 500, the audit clean |
| audit of a million generations, quiet | 53 s, 58 processor seconds (`python -m bench.audit --rows 1000000`) |
| soak, 2 h, 5 a second, 200 users, beside work on one core, 9c6d16d | **green**: 36 000 asked, none refused, clean |
| its memory an hour | gateway +0.13 MB, generator +0.05, ledger +0.01, storage +0.73 (1 allowed), NATS +21 |
| its descriptors an hour (4 allowed) | gateway +1.6, generator +0.8, storage +0.5, the others none |
| its tasks, connections, threads an hour | tasks +0.2 at most, connections -0.3, storage's threads +1.7 (9 now) |
| two soaks before it | all ended, none refused; red: storage +1.7 and +1.8 MB, 2 MB of it interned file names, mended |
| the second of them, other work on both cores | red as well: descriptors +6.6 and +6.0 an hour, from bursts |
| before, each request a new user's, load up to 17 | 479 of 36 000 refused (503), the rest ended, audit clean |
| its memory an hour | gateway +40 MB (may know 100 000), NATS +36, storage +4, others +1 |
| five times what it can do, five minutes (F28, P20) | passed on a quiet machine |
| 1 000 followers, gateways killed | 3 000 ends, none missed, none begun anew |
| power cut under NATS | 20 cuts, none of the outcomes acknowledged lost; with the server's default 728 of 728 were |
| power cut under Postgres | 20 cuts, none of the rows committed lost |
| everything at once, seed 41, 15 s | 60 accepted, 60 ended, all completed; the deep audit found nothing |
| the same, a real S3 behind a bad link, seed 43, 20 s | 42 accepted, 42 ended, all completed; nothing found |
| cluster of three, under load | 452 acknowledged, 0 lost; pauses of 4.1 s (killed), 5.1 s (cut off), 1.2 s (rolling) |
"""
