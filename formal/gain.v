(* Chapters 2 and 6: what one input, or a batch, tells about the parameters.

   S is the covariance before the label, s2 the noise variance, x the input, q = x' S x.
   P is a posterior precision, R a root of the candidate's Fisher information, F = R' R.
   The information gain is half the logarithm of a determinant or of a ratio of two.
   There are no logarithms here: each lemma states the determinants' side, in which
   "sum of logs" reads "product". `order.v` proves the determinants positive. *)
From mathcomp Require Import all_ssreflect all_algebra.
From Formal Require Import determinants.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import GRing.Theory.
Local Open Scope ring_scope.

Section Gain.
Variable Num : comUnitRingType.

(* A 1 x 1 matrix in the middle of a product is a number in front. *)
Fact number_in_front d n (x : 'cV[Num]_d) (a : 'M[Num]_1) (y : 'rV[Num]_n) :
  x *m a *m y = number a *: (x *m y).
Proof. by rewrite {1}[a]mx11_scalar mul_mx_scalar -scalemxAl. Qed.

(* 1/s2 = 1/w + q/(w s2) with w = s2 + q. *)
Fact split_inverse (s2 q : Num) :
  s2 \is a GRing.unit -> s2 + q \is a GRing.unit ->
  s2^-1 = (s2 + q)^-1 + s2^-1 * (s2 + q)^-1 * q.
Proof.
move=> us uw; apply: (mulrI uw); rewrite [RHS]mulrDr mulrV //.
by rewrite [s2^-1 * _]mulrC !mulrA mulrV // mul1r mulrDl mulrV // [q / s2]mulrC.
Qed.

(* T6: the covariance after the label is S - S x x' S / (s2 + q): this is the inverse of
   the precision S^-1 + x x' / s2. No label occurs in it. *)
Lemma covariance_inverts_precision d (S : 'M[Num]_d) (x : 'cV[Num]_d) (s2 : Num) :
  S \in unitmx -> s2 \is a GRing.unit -> s2 + quad S x \is a GRing.unit ->
  (inv S + s2^-1 *: (x *m x^T))
    *m (S - (s2 + quad S x)^-1 *: (S *m x *m x^T *m S)) = I.
Proof.
move=> uS us uw; set w := s2 + _.
have step : x *m x^T *m (S *m x *m x^T *m S) = quad S x *: (x *m (x^T *m S)).
  by rewrite -number_in_front !mulmxA.
rewrite mulmxBr !mulmxDl mulVmx // -!scalemxAl -!scalemxAr step.
rewrite !mulmxA mulVmx // mul1mx -addrA !scalerA -scalerDl -scalerBl.
by rewrite {1}(split_inverse us uw) mulrC !mulrA subrr scale0r addr0.
Qed.

(* T6: the covariance after the label. *)
Lemma covariance_update d (S : 'M[Num]_d) (x : 'cV[Num]_d) (s2 : Num) :
  S \in unitmx -> s2 \is a GRing.unit -> s2 + quad S x \is a GRing.unit ->
  inv (inv S + s2^-1 *: (x *m x^T))
    = S - (s2 + quad S x)^-1 *: (S *m x *m x^T *m S).
Proof.
by move=> uS us uw; case: (inverse_is_unique (covariance_inverts_precision uS us uw)).
Qed.

(* T6: the mean after the label y moves by S x (y - x' mu) / (s2 + q). *)
Lemma mean_update d (S : 'M[Num]_d) (x mu : 'cV[Num]_d) (s2 y : Num) :
  S \in unitmx -> s2 \is a GRing.unit -> s2 + quad S x \is a GRing.unit ->
  let S_new := inv (inv S + s2^-1 *: (x *m x^T)) in
  S_new *m (inv S *m mu + (s2^-1 * y) *: x)
    = mu + ((y - number (x^T *m mu)) / (s2 + quad S x)) *: (S *m x).
Proof.
move=> uS us uw S_new; set m := number _; set c := _ / _.
have [uQ _] := inverse_is_unique (covariance_inverts_precision uS us uw).
apply: (canLR (mulKmx uQ)).
have dot (z : 'cV_d) : x *m x^T *m z = number (x^T *m z) *: x.
  by rewrite -mulmxA {1}[x^T *m z]mx11_scalar mul_mx_scalar.
rewrite mulmxDl !mulmxDr -!scalemxAr mulKmx // -!scalemxAl !dot mulmxA -/(quad S x).
rewrite !scalerA -addrA -!scalerDl; congr (_ + _ *: _).
have spread : (y - m) / s2 = c + c / s2 * quad S x.
  by rewrite {1}(split_inverse us uw) mulrDr !mulrA [_ / _ / s2]mulrAC.
by rewrite addrCA -spread -/m [_ / s2]mulrC -mulrDr [m + _]addrC subrK.
Qed.

(* T7: two Gaussian entropies, of covariances c S and c S_new with c = 2 pi e; the
   factor c^D cancels from their difference, and det S / det S_new is left. *)
Lemma entropy_difference d (c : Num) (S S_new : 'M[Num]_d) :
  S_new \in unitmx ->
  \det (c *: S) = \det (c *: S_new) * \det (S *m inv S_new).
Proof.
move=> u; rewrite !determinant_scaled -mulrA det_mulmx det_inv [\det S * _]mulrC.
by rewrite mulVKr // -unitmxE.
Qed.

(* T7: the second line, S S_new^-1 = I + S x x' / s2. *)
Lemma covariance_times_precision d (S : 'M[Num]_d) (x : 'cV[Num]_d) (s2 : Num) :
  S \in unitmx ->
  S *m (inv S + s2^-1 *: (x *m x^T)) = I + s2^-1 *: (S *m x *m x^T).
Proof. by move=> uS; rewrite mulmxDr mulmxV // -scalemxAr mulmxA. Qed.

(* T9: one input. The D x D determinant is the number 1 + x' S x / s2. *)
Lemma gain_of_one_input d (S : 'M[Num]_d) (x : 'cV[Num]_d) (s2 : Num) :
  \det (I + s2^-1 *: (S *m x *m x^T)) = 1 + quad S x / s2.
Proof.
rewrite scalemxAr sylvester det_one_by_one -scalemxAl /number mxE mulrC.
by rewrite /quad mulmxA.
Qed.

(* T9: BALD. The entropies of the label, variance s2 + q, and of the noise, s2, differ
   by the same number; (2 pi e) cancels again. *)
Lemma bald_ratio (c s2 q : Num) :
  c \is a GRing.unit -> s2 \is a GRing.unit ->
  (c * (s2 + q)) / (c * s2) = 1 + q / s2.
Proof.
move=> uc us; rewrite invrM // [s2^-1 * _]mulrC mulrA [c * _]mulrC mulrK //.
by rewrite mulrDl mulrV.
Qed.

(* T9: the talk's "posterior variance" at the same input is not s2, but
   s2 + q s2 / (s2 + q). *)
Lemma predictive_variance_after d (S : 'M[Num]_d) (x : 'cV[Num]_d) (s2 : Num) :
  S \in unitmx -> s2 \is a GRing.unit -> s2 + quad S x \is a GRing.unit ->
  let S_new := inv (inv S + s2^-1 *: (x *m x^T)) in
  quad S_new x = quad S x * s2 / (s2 + quad S x).
Proof.
move=> uS us uw /=; rewrite covariance_update // /quad.
rewrite mulmxBr mulmxBl -scalemxAr -scalemxAl number_of_difference.
rewrite (_ : x^T *m (_ *m S) *m x = (x^T *m S *m x) *m (x^T *m S *m x));
  last by rewrite !mulmxA.
rewrite number_of_product -/(quad S x); set w := s2 + _.
have -> : s2 = w - quad S x by rewrite addrK.
by rewrite mulrBr mulrBl mulrK // [w^-1 * _]mulrC.
Qed.

(* T9: a batch X (one input a row), K x K in the place of D x D. *)
Lemma gain_of_batch k d (S : 'M[Num]_d) (X : 'M[Num]_(k, d)) (s2 : Num) :
  \det (I + s2^-1 *: (S *m X^T *m X)) = \det (I + s2^-1 *: (X *m S *m X^T)).
Proof. by rewrite scalemxAr sylvester -scalemxAl mulmxA. Qed.

(* T12, T14: roots stacked upon each other: their Fisher informations add. *)
Lemma stacked_roots_add m n d (A : 'M[Num]_(m, d)) (B : 'M[Num]_(n, d)) :
  (col_mx A B)^T *m col_mx A B = A^T *m A + B^T *m B.
Proof. by rewrite tr_col_mx mul_row_col. Qed.

(* T9, T25: one more input, or batch, A after B: the gain is that of A under the
   precision that B leaves. *)
Lemma gain_of_one_more m n d (P : 'M[Num]_d) (A : 'M[Num]_(m, d)) (B : 'M[Num]_(n, d)) :
  P + B^T *m B \in unitmx ->
  \det (P + (col_mx A B)^T *m col_mx A B)
    = \det (P + B^T *m B) * \det (I + A *m inv (P + B^T *m B) *m A^T).
Proof.
by move=> uQ; rewrite stacked_roots_add addrCA addrC determinant_lemma.
Qed.

(* T9, T25: the chain rule. The gains of one root after the other, each under the
   precision that those before it leave, telescope to the gain of all. *)
Lemma chain_rule r d (P : 'M[Num]_d) (A : nat -> 'M[Num]_(r, d)) n :
  let P_after k := P + \sum_(j < k) (A j)^T *m A j in
  (forall k, P_after k \in unitmx) ->
  \det (P_after n)
    = \det P * \prod_(k < n) \det (I + A k *m inv (P_after k) *m (A k)^T).
Proof.
move=> P_after uP; elim: n => [|n IH]; first by rewrite /P_after !big_ord0 addr0 mulr1.
rewrite big_ord_recr /= mulrA -IH -determinant_lemma //; congr (\det _).
by rewrite /P_after big_ord_recr addrA.
Qed.

(* T10: completing the square (doubled, so that no half occurs): around the Newton step
   -P^-1 g the second-order expansion is a Gaussian's exponent and a constant. *)
Lemma complete_the_square d (P : 'M[Num]_d) (g z : 'cV[Num]_d) :
  P \in unitmx -> P^T = P ->
  let newton := - (inv P *m g) in
  z^T *m P *m z + g^T *m z *+ 2
    = (z - newton)^T *m P *m (z - newton) - g^T *m inv P *m g.
Proof.
move=> uP sym /=; rewrite opprK; set u := inv P *m g.
have uP_g : u^T *m P = g^T by rewrite trmx_mul trmx_inv sym mulmxKV.
have swap : z^T *m g = g^T *m z.
  by rewrite [LHS]mx11_scalar -tr_scalar_mx -mx11_scalar trmx_mul trmxK.
rewrite [(z + u)^T]linearD /= mulmxDl uP_g mulmxDr !mulmxDl -[z^T *m P *m u]mulmxA.
by rewrite mulKVmx // swap -[g^T *m inv P *m g]mulmxA -/u -!addrA subrr addr0 mulr2n.
Qed.

(* T7, T21, T42: entropy before minus after, det(P + F) / det P, is det(I + F P^-1). F
   may be any matrix, also the indefinite observed information of a known label. *)
Lemma gain_as_ratio d (P F : 'M[Num]_d) :
  P \in unitmx -> \det (P + F) = \det P * \det (I + F *m inv P).
Proof.
by move=> uP; rewrite mulrC -det_mulmx mulmxDl mul1mx mulmxKV.
Qed.

(* T21: by a root, F = R' R, the determinant is r x r. *)
Lemma gain_by_root r d (P : 'M[Num]_d) (R : 'M[Num]_(r, d)) :
  \det (I + R^T *m R *m inv P) = \det (I + R *m inv P *m R^T).
Proof. by rewrite -mulmxA sylvester. Qed.

(* T21: by the outputs' Jacobian J and their Fisher information L: C x C. *)
Lemma gain_by_outputs c d (P : 'M[Num]_d) (J : 'M[Num]_(c, d)) (L : 'M[Num]_c) :
  \det (I + J^T *m L *m J *m inv P) = \det (I + L *m J *m inv P *m J^T).
Proof. by rewrite -!mulmxA sylvester !mulmxA. Qed.

(* T21: each label's posterior precision Py is (P + F) Z with Z = (P + F)^-1 Py. *)
Lemma label_factors d (P F Py : 'M[Num]_d) :
  P \in unitmx -> P + F \in unitmx ->
  \det P * \det (I + (Py - P) *m inv P) = \det (P + F) * \det (inv (P + F) *m Py).
Proof.
by move=> uP uQ; rewrite -gain_as_ratio // addrC subrK -det_mulmx mulKVmx.
Qed.

(* T21: and the mean of tr Z over the labels is D, where the mean of Py is P + F: the
   Jensen step loses nothing on average. *)
Lemma mean_trace_is_dimension n d (p : 'I_n -> Num) (Py : 'I_n -> 'M[Num]_d)
    (Q : 'M[Num]_d) :
  Q \in unitmx -> \sum_y p y *: Py y = Q ->
  \sum_y p y * \tr (inv Q *m Py y) = d%:R.
Proof.
move=> uQ mean; rewrite -(mxtrace1 _ d) -(mulVmx uQ).
transitivity (\tr (inv Q *m \sum_y p y *: Py y)); last by rewrite mean.
rewrite mulmx_sumr raddf_sum.
by apply: eq_bigr => y _; rewrite -scalemxAr /= mxtraceZ.
Qed.

(* T22: in Bayesian linear regression P^-1 = S and F = x x' / s2: T21's form is T9's. *)
Lemma gain_is_exact d (P : 'M[Num]_d) (x : 'cV[Num]_d) (s2 : Num) :
  \det (I + (s2^-1 *: (x *m x^T)) *m inv P) = 1 + quad (inv P) x / s2.
Proof.
rewrite -scalemxAl -mulmxA scalemxAr sylvester det_one_by_one -scalemxAl.
by rewrite /number mxE mulrC.
Qed.

(* T22: likewise for a batch, F = X' X / s2. *)
Lemma batch_gain_is_exact k d (P : 'M[Num]_d) (X : 'M[Num]_(k, d)) (s2 : Num) :
  \det (I + (s2^-1 *: (X^T *m X)) *m inv P)
    = \det (I + s2^-1 *: (X *m inv P *m X^T)).
Proof.
by rewrite -scalemxAl -[_ *m inv P]mulmxA scalemxAr sylvester -scalemxAl.
Qed.

(* T25: n copies of one direction g: the determinant grows by 1 + n t, t = g' P^-1 g,
   where the trace counts n t. *)
Lemma gain_of_copies n d (P : 'M[Num]_d) (g : 'cV[Num]_d) :
  P \in unitmx ->
  \det (P + n%:R *: (g *m g^T)) = \det P * (1 + n%:R * quad (inv P) g).
Proof.
move=> uP; rewrite scalemxAl determinant_rank_one // -scalemxAr.
by rewrite /quad /number mxE.
Qed.
End Gain.
