"""Options that have no effect in the chosen combination are refused by name, in every case."""

from pathlib import Path

import pytest

from fiberax import cli
from fiberax.cases import find_case
from fiberax.cases.find import own_cases
from fiberax.cases.homogenization.diffusion import Diffusion, Method
from fiberax.cases.options import ABSENT, GIVEN, above, fields_of, flag, from_json, other_than, when
from fiberax.core.errors import BadInput

# Case, what is chosen, the option without effect (in one combination each), and the condition that the message names.
IDLE = [
    ("diffusion", "", "--friction 0.1", "with --method seamless"),
    ("diffusion", "", "--friction 0.001", "with --method seamless"),  # its default, but written
    ("diffusion", "--method seamless", "--tolerance 0.01", "with --method quasistatic"),
    ("diffusion", "--method seamless", "--states kept", "with --method quasistatic"),
    ("diffusion", "--method seamless", "--surrogate 0.01", "with --method quasistatic"),
    ("wave", "--method seamless", "--surrogate 0.01", "with --method quasistatic"),
    ("electron-wave", "", "--surrogate 0.01", "with --method quasistatic"),
    ("pull", "", "--surrogate 0.01", "with --driver nested"),
    ("diffusion", "--mesh a.msh", "--shape l-shape", "without --mesh"),
    ("diffusion", "--mesh a.msh", "--cells 9", "without --mesh"),
    ("diffusion", "--mesh a.msh", "--size 9", "without --mesh"),
    ("diffusion", "", "--order 2", "with --mesh or with --shape other than box"),
    ("diffusion", "", "--cold-sides left", "with --mesh or with --shape other than box"),
    ("steady", "", "--hot-sides left", "with --mesh or with --shape other than box"),
    ("homogenize", "--formula 2+U", "--image a.png", "without --formula"),
    ("homogenize", "--formula 2+U", "--conductivities 1,2", "without --formula"),
    ("homogenize", "--formula 2+U", "--slopes 1,2", "without --formula"),
    ("homogenize", "--formula 2+U", "--scheme element", "without --formula"),
    ("homogenize", "--formula 2+U", "--borders held", "without --formula"),
    ("homogenize", "--image a.png --phases b.csv", "--conductivities 1,2", "without --phases"),
    ("diffusion", "--image a.png --phases b.csv", "--slopes 1,2", "without --phases"),
    ("diffusion", "", "--threshold otsu", "with --image"),
    ("diffusion", "", "--phases b.csv", "with --image"),
    ("diffusion", "--image a.png", "--tensor 1,2,3", "with --phases"),
    ("diffusion", "--image a.png", "--radians", "with --phases"),
    ("diffusion", "", "--part 1", "with --image"),
    ("diffusion", "", "--raw-shape 8,8", "with --image"),
    ("diffusion", "", "--raw-type uint8", "with --image"),
    ("diffusion", "", "--volume", "with --image"),
    ("homogenize", "", "--dim 3", "with --formula"),
    ("homogenize", "", "--points 8", "with --formula"),
    ("homogenize", "--rows 1", "--high 5", "with --rows other than 1"),
    ("chain", "--model quantum", "--depth 2", "with --model morse or lennard-jones"),
    ("chain", "--formula r**2", "--depth 2", "without --formula"),
    ("chain", "--formula r**2", "--bond 0.4", "without --formula"),
    ("chain", "--model lennard-jones", "--alpha 5", "with --model morse"),
    ("chain", "", "--coupling 3", "with --model quantum"),
    ("chain", "", "--external 0", "with --model quantum"),
    ("chain", "", "--points 16", "with --model quantum"),
    ("chain", "--rows 1", "--high 0.2", "with --rows other than 1"),
    ("wave", "", "--external 0", "with --model quantum"),
    ("wave", "", "--friction 0.2", "with --method seamless"),
    ("wave", "", "--mass 0.2", "with --method seamless"),
    ("wave", "--method seamless", "--tolerance 1e-6", "with --method quasistatic"),
    ("wave", "--material si-sw", "--model morse", "without --material"),
    ("wave", "--material si-sw", "--alpha 5", "without --material"),
    ("wave", "--potential a.sw", "--formula r**2", "without --potential"),
    ("wave", "--material si-sw", "--kind sw", "with --potential"),
    ("wave", "--material si-sw --potential a.sw", "--material si-sw", "without --potential"),
    ("crystal", "--potential a.sw", "--material si-sw", "without --potential"),
    ("crystal", "", "--kind sw", "with --potential"),
    ("crystal", "", "--structure fcc", "with --potential"),
    ("crystal", "", "--lattice-constant 4", "with --potential"),
    ("crystal", "", "--species Si", "with --potential"),
    ("crystal", "--potential a.sw --atoms b.cif", "--structure fcc", "without --atoms"),
    ("crystal", "--potential a.sw --atoms b.cif", "--species Si", "without --atoms"),
    ("crystal", "", "--layer", "with --atoms"),
    ("crystal", "", "--thickness 3", "with --atoms"),
    ("crystal", "", "--lateral 001", "with --axis"),
    ("wave", "", "--axis 110", "with --material"),
    ("wave", "", "--atoms b.cif", "with --material"),
    ("crystal", "--direction 1,0,0,0,0,0,0,0,0", "--path shear", "without --direction"),
    ("crystal", "--rows 1", "--high 0.2", "with --rows other than 1"),
    ("pull", "--material lj-triangular", "--depth 3", "with --material other than lj-triangular"),
    ("pull", "--material lj-triangular", "--through 2", "with --material other than lj-triangular"),
    ("pull", "--material lj-triangular", "--faces held", "with --material other than lj-triangular"),
    ("pull", "--potential a --structure triangular", "--depth 3", "with --structure other than triangular"),
    ("pull", "--mesh a.msh", "--width 9", "without --mesh"),
    ("pull", "--mesh a.msh", "--shape notch", "without --mesh"),
    ("pull", "--mesh a.msh", "--height 9", "without --mesh"),
    ("pull", "--mesh a.msh", "--radius 9", "without --mesh"),
    ("pull", "--mesh a.msh", "--cells 9", "without --mesh"),
    ("pull", "", "--held-sides left", "with --mesh"),
    ("pull", "", "--pulled-sides left", "with --mesh"),
    ("pull", "", "--mirror-sides left", "with --mesh"),
    ("pull", "", "--along y", "with --mesh"),
    ("electrons", "--model tfw", "--cutoff 9", "with --model ks"),
    ("electrons", "--model tfw", "--pseudopotential Na.upf", "with --model ks"),
    ("electrons", "--model tfw", "--points 3", "with --model ks"),
    ("electrons", "--model tfw", "--width 0.01", "with --model ks"),
    ("electrons", "--model tfw", "--basis cutoff", "with --model ks"),
    ("electrons", "", "--grid 12", "with --model tfw"),
    ("electrons", "--crystal aluminium", "--no-relax", "with --crystal silicon"),
    ("electrons", "--direction 1,0,0,0,0,0,0,0,0", "--path shear", "without --direction"),
    ("electrons", "--rows 1", "--high 0.1", "with --rows other than 1"),
    ("electron-wave", "--method quasistatic", "--inertia 2", "with --method seamless"),
    ("electron-wave", "--method quasistatic", "--damping 1", "with --method seamless"),
    ("electron-wave", "", "--tolerance 1e-6", "with --method quasistatic"),
    ("spins", "", "--initial 0", "with --mode diffusion"),
    ("spins", "", "--length 9", "with --mode diffusion"),
    ("spins", "", "--cells 9", "with --mode diffusion"),
    ("spins", "", "--t1 9", "with --mode diffusion"),
    ("spins", "", "--dt 9", "with --mode diffusion"),
    ("spins", "", "--records 9", "with --mode diffusion"),
    ("spins", "", "--method sampled", "with --mode diffusion"),
    ("spins", "--mode diffusion", "--samples 200", "with --method sampled"),
    ("spins", "--mode diffusion", "--low 0", "with --mode table"),
    ("spins", "--mode diffusion", "--high 0", "with --mode table"),
    ("spins", "--mode diffusion", "--rows 3", "with --mode table"),
    ("spins", "--mode diffusion", "--average 9", "with --mode table"),
    ("rheometer", "--model rod", "--spring fene", "with --model dumbbell or chain"),
    ("rheometer", "--model rod", "--b 9", "with --model dumbbell or chain"),
    ("rheometer", "--spring hookean", "--b 9", "with --spring other than hookean"),
    ("rheometer", "", "--springs 3", "with --model chain"),
    ("rheometer", "--model ptt", "--alpha 0.3", "with --model giesekus"),
    ("rheometer", "--model giesekus", "--epsilon 0.3", "with --model ptt or ptt-exp"),
    ("rheometer", "", "--entanglements 5", "with --model rolie-poly"),
    ("rheometer", "--model fene-p", "--beta 0.5", "with --model rolie-poly"),
    ("rheometer", "--model rolie-poly", "--delta -0.4", "with --beta above 0"),
    ("rheometer", "--model ptt", "--form density", "with --model dumbbell or chain or rod"),
    ("rheometer", "", "--potential onsager", "with --model rod"),
    ("rheometer", "--model rod --form density", "--director 1,0,0", "with --potential maier-saupe or onsager"),
    ("rheometer", "--model rod --potential onsager", "--director 1,0,0", "with --form density"),
    ("rheometer", "--model rod", "--intensity 2", "with --potential maier-saupe or onsager"),
    ("rheometer", "", "--degree 8", "with --form density"),
    ("rheometer", "--form density --spring Hookean", "--degree 8", "with --spring other than hookean"),
    ("rheometer", "--form density", "--members 9", "with --form brownian"),
    ("rheometer", "--form density", "--noise gaussian", "with --form brownian"),
    ("rheometer", "--form density", "--no-control", "with --form brownian"),
    ("rheometer", "--model rod --potential onsager", "--control", "with --potential none"),
    ("rheometer", "--form density", "--seed 3", "with --form brownian"),
    ("rheometer", "--gradient 0,1,0,0,0,0,0,0,0", "--flow planar", "without --gradient"),
    (
        "rheometer",
        "--form density --mode oscillation",
        "--flow planar",
        "with --mode steady or startup or relaxation or cessation or step-strain",
    ),
    ("rheometer", "--mode startup --history a", "--gradient 0,1,0,0,0,0,0,0,0", "without --history"),
    ("rheometer", "", "--history a", "with --mode startup"),
    ("rheometer", "--rates 1,2", "--low 0.2", "without --rates"),
    ("rheometer", "--rates 1,2", "--high 4", "without --rates"),
    ("rheometer", "--rates 1,2", "--rows 4", "without --rates"),
    ("rheometer", "--mode startup --history a", "--rates 1", "without --history"),
    ("rheometer", "", "--span 3", "with --mode startup or relaxation or cessation or step-strain"),
    ("rheometer", "--mode startup", "--before 3", "with --mode relaxation"),
    ("rheometer", "--mode cessation", "--before 3", "with --mode relaxation"),
    ("rheometer", "", "--records 9", "with --mode startup or relaxation or cessation or step-strain"),
    ("rheometer", "--form density", "--dt 0.1", "with --mode startup or relaxation or cessation or step-strain"),
    ("rheometer", "--form density", "--replicas 3", "with --form brownian"),
    ("rheometer", "--mode startup", "--average 9", "with --mode steady"),
    ("rheometer", "", "--amplitude 0.3", "with --mode oscillation"),
    ("rheometer", "--mode oscillation --model ptt", "--periods 3", "with --model dumbbell or chain or rod"),
    ("rheometer", "--model lj", "--dim 2", "with --model other than lj or wca or kg-chains"),
    ("rheometer", "--model lj", "--De 2", "with --model other than lj or wca or kg-chains"),
    ("rheometer", "--model wca", "--flow planar", "with --model other than lj or wca or kg-chains"),
    ("rheometer", "--model wca", "--cutoff 3", "with --model lj"),
    ("rheometer", "", "--particles 99", "with --model lj or wca or kg-chains"),
    ("rheometer", "", "--density 0.8", "with --model lj or wca or kg-chains"),
    ("rheometer", "", "--temperature 2", "with --model lj or wca or kg-chains"),
    ("rheometer", "", "--md-step 0.002", "with --model lj or wca or kg-chains"),
    ("rheometer", "", "--boxes 3", "with --model lj or wca or kg-chains"),
    ("rheometer", "--model lj", "--beads 6", "with --model kg-chains"),
    ("rheometer", "--model lj --mode green-kubo", "--rates 1", "with --mode other than green-kubo"),
    ("channel", "", "--speed 2", "with --drive wall"),
    ("channel", "--drive wall", "--gradient 2", "with --drive pressure"),
    ("channel", "--form density", "--members 9", "with --form brownian"),
    ("cavity", "", "--members 9", "with --form brownian"),
    ("cavity", "", "--springs 9", "with --model chain"),
    ("liquid-channel", "--potential wca", "--cutoff 3", "with --potential lj"),
    ("liquid-channel", "", "--speed 2", "with --drive wall"),
    ("liquid-channel", "--drive wall", "--gradient 2", "with --drive pressure"),
    ("kolmogorov", "--Re 0", "--disturbance 0.1", "with --Re above 0"),
    ("kolmogorov", "", "--control", "with --form brownian"),
]


@pytest.mark.parametrize(("case", "chosen", "idle", "condition"), IDLE)
def test_an_option_without_effect_is_refused(case, chosen, idle, condition, tmp_path, capsys):
    arguments = [*chosen.split(), *idle.split()]
    assert cli.main(["run", case, *arguments, "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err.removeprefix(f"Preparing {case}\n")
    name = idle.split()[0]
    assert said.startswith(f"fiberax: {name} ") and " has no effect: it counts " in said and said.count("\n") == 1
    assert any(f"{condition} {next}" in said for next in ("only", "and", "or"))
    assert f"Leave {name} out, or " in said and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["steady", "--checkpoint-every", "5"], "--checkpoint-every has no effect: a steady state has no checkpoints"),
        (["chain", "--checkpoint-every", "60"], "--checkpoint-every has no effect: a table goes on after its last row"),
        (["chain", "--distributed", "--coordinator", "a:1"], "--distributed has no effect: it counts without --coordinator"),
    ],
)
def test_options_of_the_command_without_effect_are_refused(arguments, words, tmp_path, capsys):
    assert cli.main(["run", *arguments, "--out", str(tmp_path / "run")]) == 2
    assert words in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_the_table_holds_every_option_that_counts_only_sometimes():
    """Those that several cases share are looked at in one of them."""
    seen = {(case, idle.split()[0].replace("--no-", "--")) for case, _, idle, _ in IDLE}
    for name in own_cases():
        case = find_case(name)
        options = {field: opt for field, _, _, opt in fields_of(case)}
        for field, opt in options.items():
            assert {other for needs in opt.applies.alternatives for other, _ in needs} <= set(options), (name, field)
            if opt.applies.alternatives != ((),):
                assert any((other, flag(field)) in seen for other in own_cases()), (name, field)


def test_options_that_count_are_taken():
    """Conditions are no stricter than they should be: with other choices each of these counts."""
    for case, options in (
        ("diffusion", {"method": "seamless", "friction": 0.1}),
        ("pull", {"potential": "a.sw", "structure": "fcc", "depth": 3.0}),
        ("rheometer", {"mode": "steady", "dt": 0.1, "average": 9.0}),
        ("rheometer", {"model": "kg-chains", "beads": 6, "boxes": 3, "average": 9.0, "seed": 2}),
        ("rheometer", {"form": "density", "mode": "startup", "dt": 0.1, "b": 9.0, "degree": 8}),
        ("rheometer", {"model": "rod", "form": "density", "degree": 8, "potential": "onsager", "director": "1,0,0"}),
        ("channel", {"model": "chain", "springs": 3, "control": True}),
        ("kolmogorov", {"Re": 1.0, "disturbance": 0.1}),
        ("wave", {"method": "seamless", "mass": 0.1, "model": "quantum", "external": "0"}),
    ):
        from_json(find_case(case), options, Path())


def test_refused_in_python_unless_at_its_default():
    assert Diffusion(friction=1e-3).method is Method.QUASISTATIC
    with pytest.raises(BadInput, match=r"--friction 0\.1 has no effect"):
        Diffusion(friction=0.1)


def test_conditions_combine():
    class Chosen:
        a, b, c, on = 1, None, " Hookean", False

    assert when(a=(1, 2), b=ABSENT, c=other_than("fene")).unmet(Chosen) == ()
    first = when(a=3) | when(b=GIVEN, a=above(5))
    ((missing, _),), *others = first.unmet(Chosen)
    assert missing == "a" and not others  # the alternative from which least is missing
    (needs,) = (first & when(on=True)).unmet(Chosen)
    assert needs[-1][1].condition("on") == "with --on" and needs[-1][1].remedy("on") == "give --on"
    assert len((when(a=3) | when(on=True)).unmet(Chosen)) == 2
    assert when(c=other_than("hookean")).unmet(Chosen) and not when(on=False).unmet(Chosen)
    assert when(b=above(0)).unmet(Chosen) == ()
