"""Stable-baselines3 takes our ids as it takes gymnasium's: it runs on all of them, and learns."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest

from .test_gym_env import IDS

sb3 = pytest.importorskip("stable_baselines3", reason="stable-baselines3 is not installed: it comes with .[test]")
contrib = pytest.importorskip("sb3_contrib", reason="sb3-contrib is not installed: it comes with .[test]")

SHORT: dict[str, Any] = {"n_steps": 16, "batch_size": 16, "n_epochs": 1, "seed": 0, "device": "cpu"}


def mean_return(model: Any, gym_id: str, episodes: int = 30) -> float:
    """Of its most probable actions, one episode after the other."""
    env, total = gymnasium.make(gym_id), 0.0
    for episode in range(episodes):
        (seen, _), memory, over = env.reset(seed=1000 + episode), None, False
        start = True
        while not over:
            action, memory = model.predict(seen, memory, np.array([start]), deterministic=True)
            seen, reward, terminated, truncated, _ = env.step(action)
            total, start, over = total + float(reward), False, terminated or truncated
    return total / episodes


@pytest.mark.parametrize("gym_id", IDS)
def test_its_checker_has_no_complaint_but_the_width_of_the_points_steps(gym_id: str) -> None:
    """It recommends boxes of [-1, 1]; a step of the point is .1 long, as published."""
    from stable_baselines3.common.env_checker import check_env

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if "PointGoal" in gym_id:
            warnings.filterwarnings("ignore", "We recommend you to use a symmetric and normalized Box action space")
        check_env(gymnasium.make(gym_id).unwrapped)


@pytest.mark.parametrize("gym_id", IDS)
def test_ppo_runs_on_every_id(gym_id: str) -> None:
    model = sb3.PPO("MlpPolicy", gym_id, **SHORT).learn(32)
    assert model.num_timesteps == 32
    assert len(model.ep_info_buffer) > 0 or gym_id[12:-3] in ("PointGoal", "Pendulum", "TwoStep", "DependentBandit")


def test_recurrent_ppo_and_several_environments_run() -> None:
    from stable_baselines3.common.env_util import make_vec_env

    envs = make_vec_env("metarl_lite/GridGoal-v0", n_envs=2, seed=0, env_kwargs={"horizon": 5, "size": 4})
    envs.env_method("set_task", {"goal": [0, 3]})  # set_attr would leave it on the monitor around each environment
    model = contrib.RecurrentPPO("MlpLstmPolicy", envs, **SHORT).learn(64)
    assert {info["l"] for info in model.ep_info_buffer} == {5}
    assert [env.unwrapped.task["goal"].tolist() for env in envs.envs] == [[0, 3], [0, 3]]


# What random behaviour earns: a pole falls after some 20 steps, an arm pays .5 on average. 200 and 9 are the most. Over
# seeds 0 to 4 PPO earned {PPO} and RecurrentPPO {REC}.
@pytest.mark.slow
def test_ppo_learns_to_balance() -> None:
    model = sb3.PPO("MlpPolicy", "metarl_lite/CartPole-v0", n_steps=512, seed=0, device="cpu").learn(20_000)
    assert mean_return(model, "metarl_lite/CartPole-v0") > 100


@pytest.mark.slow
def test_recurrent_ppo_learns_a_bandit() -> None:
    model = contrib.RecurrentPPO(
        "MlpLstmPolicy", "metarl_lite/BernoulliBandit-v0", n_steps=200, learning_rate=3e-3, seed=0, device="cpu"
    ).learn(4000)
    assert mean_return(model, "metarl_lite/BernoulliBandit-v0", 200) > 7
