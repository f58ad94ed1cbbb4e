"""The objectives and outputs of the seven autoencoders.

An objective trains a group of parameters, `ae` (the autoencoder) or `critic`, and is differentiated with
respect to the parameters of this group alone. So nothing needs to be detached where an objective of one group
depends on the parameters of the other.
"""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

from networks import (
    SLOPE,
    codebook_update,
    decoder,
    dense,
    encoder,
    flat,
    mean_square,
    negative_log_likelihood,
    quantised,
    unflat,
)


@dataclass
class Losses:
    """What a variant computes for a batch before the update."""

    # The objectives by the group of parameters that they train.
    objectives: dict
    # The input of the classifier, [batch, features].
    features: torch.Tensor
    # The numbers that the paper's code reports, by their names there.
    reported: dict = field(default_factory=dict)
    # Further values by name, where {} stands for the step.
    recorded: dict = field(default_factory=dict)
    # The vectors and indices from which the codebook is updated.
    codebook: tuple = ()


def reconstruction(recon, x, name="loss_ae"):
    """Returns the mean squared error and the reported numbers; `rmse` is in grey levels from 0 to 255."""
    error = mean_square(recon, x)
    return error, {name: error, "rmse": error.sqrt() * 127.5}


class Baseline:
    """The plain autoencoder, min ‖x − d(e(x))‖², and the base of the others."""

    def __init__(self, config, hyper):
        self.scales, self.hyper = config["scales"], hyper

    def encode(self, p, x):
        return encoder(p, "enc", x, self.scales)

    def generate(self, p, z):
        """The output of the decoder."""
        return decoder(p, "dec", z, self.scales)

    def decode(self, p, z):
        """The image of a latent, which is the output of the decoder unless a variant says otherwise."""
        return self.generate(p, z)

    def latent(self, p, x, draws):
        """The latent that is interpolated and clustered."""
        return self.encode(p, x)

    def features(self, p, x):
        """The input of the classifier."""
        return flat(self.encode(p, x))

    def losses(self, p, x, draws):
        z = self.encode(p, x)
        loss, reported = reconstruction(self.decode(p, self.corrupted_latent(p, x, draws)), x, "loss")
        return Losses({"ae": loss}, flat(z), reported)

    def corrupted_latent(self, p, x, draws):
        """The latent from which the image is reconstructed in training."""
        return self.encode(p, x)

    def outputs(self, p, x, draws):
        """Further outputs at the first step, by name."""
        return {}

    def after_step(self, p, losses):
        """Updates what no gradient trains."""


class Corrupting(Baseline):
    """The base of those whose latent in training differs from the one that is interpolated."""

    def outputs(self, p, x, draws):
        z = self.corrupted_latent(p, x, draws)
        return {"encode_train": z, "recon_train": self.decode(p, z)}


class Dropout(Corrupting):
    """In training, keeps each element of the latent with some probability and divides it by that."""

    def mask(self, draws):
        return torch.floor(self.hyper["dropout_keep"] + draws["keep_uniform"])

    def corrupted_latent(self, p, x, draws):
        return self.encode(p, x) * self.mask(draws) / self.hyper["dropout_keep"]

    def losses(self, p, x, draws):
        losses = super().losses(p, x, draws)
        losses.recorded["draw.{}.keep_mask"] = self.mask(draws)
        return losses


class Denoising(Corrupting):
    """Reconstructs the clean image from one with noise; the classifier sees the latent of the clean image."""

    def corrupted_latent(self, p, x, draws):
        return self.encode(p, x + self.hyper["noise_std"] * draws["noise"])


class Vae(Baseline):
    """min −E[log p(x|z)] + β·KL(q(z|x) ‖ N(0, I)), with sums over elements and the mean over the batch."""

    def posterior(self, p, x):
        h = flat(self.encode(p, x))
        return dense(p, "lat.mu", h), dense(p, "lat.logvar", h)

    def latent(self, p, x, draws):
        mean, log_variance = self.posterior(p, x)
        like = draws["eps"]
        return unflat(mean + torch.exp(log_variance / 2.0) * flat(like), like)

    def decode(self, p, z):
        # A probability, scaled to the range of the pixels.
        return 2.0 * torch.sigmoid(self.generate(p, z)) - 1.0

    def losses(self, p, x, draws):
        mean, log_variance = self.posterior(p, x)
        logits = self.generate(p, self.latent(p, x, draws))
        nll = negative_log_likelihood(logits, (x + 1.0) / 2.0).sum() / len(x)
        kl = 0.5 * (mean**2 + log_variance.exp() - log_variance - 1.0).sum() / len(x)
        loss = nll + self.hyper["vae_beta"] * kl
        reported = {"elbo": -loss, "loss_kl": kl, "loss_ll": -nll}
        return Losses({"ae": loss}, self.features(p, x), reported)

    def outputs(self, p, x, draws):
        mean, log_variance = self.posterior(p, x)
        return {"mu": mean, "logvar": log_variance, "logits": self.generate(p, self.latent(p, x, draws))}


class Aae(Baseline):
    """A discriminator learns to tell latents from draws of N(0, I), and the encoder to make them alike."""

    # The weight of the adversarial term in the autoencoder's objective. The manifest does not state it.
    WEIGHT = 1.0

    def discriminator(self, p, z):
        z = F.leaky_relu(dense(p, "critic.dense0", flat(z)), SLOPE)
        return dense(p, "critic.dense2", F.leaky_relu(dense(p, "critic.dense1", z), SLOPE))

    def losses(self, p, x, draws):
        z = self.encode(p, x)
        error, reported = reconstruction(self.decode(p, z), x)
        latent, prior = self.discriminator(p, z), self.discriminator(p, draws["prior"])
        fool = negative_log_likelihood(latent, torch.ones_like(latent)).mean()
        of_latent = negative_log_likelihood(latent, torch.zeros_like(latent)).mean()
        of_prior = negative_log_likelihood(prior, torch.ones_like(prior)).mean()
        right = torch.cat([latent < 0.0, prior > 0.0]).to(x.dtype).mean()
        reported |= {
            "loss_ae_latent": fool,
            "loss_adv_latent": of_latent,
            "loss_adv_prior": of_prior,
            "adversary_accuracy": right,
        }
        objectives = {"ae": error + self.WEIGHT * fool, "critic": of_latent + of_prior}
        return Losses(objectives, flat(z), reported)

    def outputs(self, p, x, draws):
        latent = self.discriminator(p, self.encode(p, x))
        return {"disc_latent": latent, "disc_prior": self.discriminator(p, draws["prior"])}


class Acai(Baseline):
    """A critic learns to recover the coefficient α of a decoded interpolation, and the autoencoder to decode
    interpolations for which the critic's output is 0."""

    def coefficient(self, draws):
        """The interpolation coefficient α, a uniform number folded to [0, ½]."""
        return 0.5 - (draws["alpha_raw"] - 0.5).abs()

    def mixture(self, z, draws):
        """The interpolation with the latent of the reversed batch."""
        alpha = self.coefficient(draws)[:, None, None, None]
        return alpha * z + (1.0 - alpha) * z.flip(0)

    def critic(self, p, x):
        return encoder(p, "critic", x, self.scales).mean((1, 2, 3))

    def parts(self, p, x, draws):
        z = self.encode(p, x)
        recon, mixture = self.decode(p, z), self.mixture(z, draws)
        mixed = self.decode(p, mixture)
        blend = recon + self.hyper["reg"] * (x - recon)
        return z, recon, mixture, mixed, self.critic(p, mixed), self.critic(p, blend)

    def losses(self, p, x, draws):
        z, recon, _, _, guess, real = self.parts(p, x, draws)
        error, reported = reconstruction(recon, x)
        fooled, of_real = mean_square(guess), mean_square(real)
        wrong = mean_square(guess, self.coefficient(draws))
        reported |= {"loss_ae_disc": fooled, "loss_disc": wrong, "loss_disc_real": of_real}
        objectives = {"ae": error + self.hyper["advweight"] * fooled, "critic": wrong + of_real}
        return Losses(objectives, flat(z), reported, {"draw.{}.alpha_folded": self.coefficient(draws)})

    def outputs(self, p, x, draws):
        _, _, mixture, mixed, guess, real = self.parts(p, x, draws)
        return {"encode_mix": mixture, "decode_mix": mixed, "critic_mix": guess, "critic_real": real}


class VqVae(Baseline):
    """Projects the latent to vectors, replaces each by the nearest entry of a codebook, and computes the
    decoder's input from them with two dense layers. The latent that is interpolated is that before."""

    STATE = ("vq.means", "vq.ema_count", "vq.ema_means")

    def bottleneck(self, p, h):
        wide = dense(p, "vq.proj", flat(h))
        state = [p[name] for name in self.STATE]
        vectors, codes, indices, result = quantised(p, wide, ("vq.vch2", "vq.vcfin"), state)
        return wide, vectors, codes, indices, result

    def decode(self, p, z):
        return self.generate(p, unflat(self.bottleneck(p, z)[-1], z))

    def features(self, p, x):
        return self.bottleneck(p, self.encode(p, x))[-1]

    def losses(self, p, x, draws):
        h = self.encode(p, x)
        _, vectors, codes, indices, result = self.bottleneck(p, h)
        error, reported = reconstruction(self.generate(p, unflat(result, h)), x)
        commitment = mean_square(vectors, codes)
        weighted = self.hyper["vq_beta"] * commitment
        reported |= {"e_loss": commitment, "vqvae_loss": weighted}
        recorded, codebook = {"vq_indices.{}": indices}, (vectors.detach(), indices)
        return Losses({"ae": error + weighted}, result, reported, recorded, codebook)

    def outputs(self, p, x, draws):
        h = self.encode(p, x)
        wide, _, _, indices, result = self.bottleneck(p, h)
        return {"vq_proj": wide, "vq_indices": indices, "vq_decoder_input": unflat(result, h)}

    def after_step(self, p, losses):
        decay, epsilon = self.hyper["vq_decay"], self.hyper["vq_epsilon"]
        state = codebook_update([p[name] for name in self.STATE], *losses.codebook, decay, epsilon)
        p |= dict(zip(self.STATE, state))


VARIANTS = {
    "baseline": Baseline,
    "dropout": Dropout,
    "denoising": Denoising,
    "vae": Vae,
    "aae": Aae,
    "acai": Acai,
    "vqvae": VqVae,
}
