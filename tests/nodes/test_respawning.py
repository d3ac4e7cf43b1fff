from robot_learning.nodes.respawning import Respawns, prospect


def test_pauses_double_up_to_the_longest() -> None:
    respawns = Respawns(shortest=1.0, longest=5.0)
    assert [respawns.pause("policy", 3.0) for _ in range(4)] == [1.0, 2.0, 4.0, 5.0]


def test_after_the_most_starts_in_a_row_it_stays_dead() -> None:
    respawns = Respawns(most=2)
    assert [respawns.pause("policy", 3.0) is None for _ in range(4)] == [False, False, True, True]


def test_who_was_well_begins_anew() -> None:
    respawns = Respawns(shortest=1.0, well=60.0)
    assert [respawns.pause("policy", ran) for ran in (3.0, 3.0, 60.0, 3.0)] == [1.0, 2.0, 1.0, 2.0]


def test_each_is_counted_for_itself() -> None:
    respawns = Respawns(shortest=1.0)
    assert [respawns.pause(name, 3.0) for name in ("policy", "policy", "reward")] == [1.0, 2.0, 1.0]


def test_it_says_what_becomes_of_whom() -> None:
    assert prospect("policy", 4.0) == "policy is started again in 4 s"
    assert "policy dies again and again" in prospect("policy", None)
