"""What `make proof` does beyond single faults: cuts, a cluster, a flood, everything at once."""

from tests.reliability.entry import Entry

LONGER = (
    Entry(
        "power cut under NATS",
        "the disk comes back as the device had it, twenty times",
        "no outcome that was acknowledged is lost",
        ("proof/power_cut::p3_no_outcome_that_nats_acknowledged_is_lost",),
    ),
    Entry(
        "the same, synced every two minutes",
        "the server's default, planted",
        "outcomes are lost, and the test says so",
        ("proof/power_cut::planted_a_log_that_is_synced_every_two_minutes_loses",),
    ),
    Entry(
        "power cut under Postgres",
        "twenty times",
        "no row that was committed is lost",
        ("proof/power_cut::p3_no_row_that_postgres_committed_is_lost",),
    ),
    Entry(
        "a cluster of three",
        "the leader killed, a minority cut off, each node restarted, under load",
        "nothing acknowledged is lost, and it pauses less than 30 s",
        ("proof/cluster::p1_a_leader_that_dies_a_minority_that_is_cut_off_and_a_rolling_restart_lose_nothing",),
    ),
    Entry(
        "a film that we speak and make ourselves",
        "its generator killed at each of six arrows, twenty times at each",
        "no speech is silently paid twice, and neither a process nor a file of it is left",
        ("proof/film_crash::f13_f14_p11_each_arrow_of_a_film_is_crossed_twenty_times",),
    ),
    Entry(
        "everything at once",
        "kills, stops, bad links, a wiped broker, deleted streams and consumers, by a seed",
        "all that was accepted ends, and the auditor finds nothing",
        ("chaos/links::a_minute_of_everything_and_nothing_is_lost",),
    ),
    Entry(
        "a flood of one user",
        "120 at once",
        "nobody else is delayed",
        ("chaos/faults::a_flood_of_one_user_delays_no_other",),
    ),
    Entry(
        "ten thousand histories",
        "the simulation, five hundred of its seeds in every run",
        "no promise is contradicted",
        ("simulation/simulation::p1_to_p9_p11_p16_p17_hold_for_every_seed",),
    ),
)
